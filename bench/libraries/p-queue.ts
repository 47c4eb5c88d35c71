import PQueue from "p-queue"
import { expectRan, heapInUse, type Measure, type Round, throughput } from "../round.ts"
import { turnsOf } from "./turns.ts"

/** p-queue has no bound: everything is added at once. */
export const submit: Measure = (setting) => {
  const queue = new PQueue({ concurrency: setting.workers })
  return throughput(setting, async (tasks) => {
    let ran = 0
    const task = async () => {
      ran++
    }
    for (let i = 0; i < tasks; i++) void queue.add(task)
    await queue.onIdle()
    return ran
  })
}

export const run: Measure = (setting) => {
  const queue = new PQueue({ concurrency: setting.workers })
  const callers = setting.parties!
  return throughput(setting, async (tasks) => {
    let ran = 0
    const task = async () => ++ran
    const caller = async () => {
      for (let i = 0; i < tasks / callers; i++) await queue.add(task)
    }
    await Promise.all(Array.from({ length: callers }, caller))
    return ran
  })
}

export const waiting: Measure = ({ tasks }): Round => async () => {
  const before = heapInUse()
  const queue = new PQueue({ concurrency: 1, autoStart: false })
  const task = async () => {}
  for (let i = 0; i < tasks; i++) void queue.add(task)
  const bytes = (heapInUse() - before) / tasks
  expectRan(queue.size, tasks)
  return { bytes }
}

export const turns: Measure = async (setting) => turnsOf(await submit(setting))
