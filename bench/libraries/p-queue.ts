import PQueue from "p-queue"
import { type Measure, throughput } from "../round.ts"

export const submit: Measure = (setting) => {
  const queue = new PQueue({ concurrency: setting.workers })
  return throughput(setting, async (tasks) => {
    let ran = 0
    const task = async () => {
      ran++
    }
    for (let i = 0; i < tasks; i++) {
      if (queue.size >= setting.capacity) await queue.onSizeLessThan(setting.capacity)
      void queue.add(task)
    }
    await queue.onIdle()
    return ran
  })
}
