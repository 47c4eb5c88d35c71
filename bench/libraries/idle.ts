import { setTimeout as sleep } from "node:timers/promises"
import { cost, type Round } from "../round.ts"

/** What a second costs in which there is nothing to do, after one in which what was begun comes to its end. */
export const idleSecond: Round = async () => {
  await sleep(1000)
  const { voluntaryContextSwitches } = process.resourceUsage()
  const { all } = await cost(() => sleep(1000))
  return { millis: all, wakeUps: process.resourceUsage().voluntaryContextSwitches - voluntaryContextSwitches }
}
