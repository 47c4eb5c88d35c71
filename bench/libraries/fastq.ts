import * as fastq from "fastq"
import { type Measure, throughput } from "../round.ts"

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
