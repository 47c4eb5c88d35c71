import { quantile, type Round } from "../round.ts"

/**
 * How long timers and I/O are kept waiting while `round` runs at full speed: milliseconds of the main thread's CPU between
 * two turns of the event loop, which is the delay on a machine that does nothing else.
 */
export const turnsOf = (round: Round): Round => async () => {
  const turns: Array<number> = []
  let going = true
  const turn = (since: NodeJS.CpuUsage): void => {
    const { system, user } = process.threadCpuUsage(since)
    turns.push((user + system) / 1000)
    if (going) setImmediate(turn, process.threadCpuUsage())
  }
  setImmediate(turn, process.threadCpuUsage())
  for (let i = 0; i < 4; i++) await round()
  going = false
  await new Promise(setImmediate)
  return { p99: quantile(turns, 0.99), max: Math.max(...turns) }
}
