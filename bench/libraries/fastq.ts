import * as fastq from "fastq"
import { expectRan, heapInUse, type Measure, type Round, throughput } from "../round.ts"
import { turnsOf } from "./turns.ts"

/** fastq has no bound: everything is pushed at once. */
export const submit: Measure = (setting) => {
  let ran = 0
  const queue = fastq.promise(async () => {
    ran++
  }, setting.workers)
  return throughput(setting, async (tasks) => {
    ran = 0
    for (let i = 0; i < tasks; i++) void queue.push(undefined)
    await queue.drained()
    return ran
  })
}

/** A bound by hand: push so many, wait until the last of them has ended, push the next. */
export const submitInBatches: Measure = (setting) => {
  let ran = 0
  const queue = fastq.promise(async () => {
    ran++
  }, setting.workers)
  return throughput(setting, async (tasks) => {
    ran = 0
    for (let pushed = 0; pushed < tasks; pushed++) {
      if (pushed - ran >= setting.capacity) await queue.drained()
      void queue.push(undefined)
    }
    await queue.drained()
    return ran
  })
}

export const run: Measure = (setting) => {
  let ran = 0
  const queue = fastq.promise(async () => ++ran, setting.workers)
  const callers = setting.parties!
  return throughput(setting, async (tasks) => {
    ran = 0
    const caller = async () => {
      for (let i = 0; i < tasks / callers; i++) await queue.push(undefined)
    }
    await Promise.all(Array.from({ length: callers }, caller))
    return ran
  })
}

export const waiting: Measure = ({ tasks }): Round => async () => {
  const before = heapInUse()
  const queue = fastq.promise(async () => {}, 1)
  queue.pause()
  for (let i = 0; i < tasks; i++) void queue.push(undefined)
  const bytes = (heapInUse() - before) / tasks
  expectRan(queue.length(), tasks)
  return { bytes }
}

export const turns: Measure = async (setting) => turnsOf(await submit(setting))
