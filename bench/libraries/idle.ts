import { cost, type Round } from "../round.ts"

/** What a second costs in which there is nothing to do. */
export const idleSecond: Round = async () => {
  const { voluntaryContextSwitches } = process.resourceUsage()
  const { all } = await cost(() => new Promise((resolve) => setTimeout(resolve, 1000)))
  return { millis: all, wakeUps: process.resourceUsage().voluntaryContextSwitches - voluntaryContextSwitches }
}
