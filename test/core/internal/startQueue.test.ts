import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import { NameCounters } from "../../../packages/core/src/internal/counters.ts"
import { StartQueue, startsBefore } from "../../../packages/core/src/internal/startQueue.ts"
import { TaskRecord } from "../../../packages/core/src/internal/taskRecord.ts"

const counters = new NameCounters("task")

const recordOf = (id: number, rank: number): TaskRecord => {
  const record = new TaskRecord({} as never, counters, undefined, undefined)
  record.id = id
  record.rank = rank
  return record
}

const operations = Schema.Array(Schema.Struct({
  rank: Schema.Int.pipe(Schema.check(Schema.isBetween({ minimum: 0, maximum: 9 }))),
  /** The place, among those that stand in it, of one that leaves; none when negative. */
  leaves: Schema.Int.pipe(Schema.check(Schema.isBetween({ minimum: -20, maximum: 20 })))
}))

describe("StartQueue", () => {
  it.prop(
    "has the earliest first, by rank and then by id, whatever left it from the middle",
    [operations],
    ([program]) => {
      const queue = new StartQueue()
      const model: Array<TaskRecord> = []
      const check = () => {
        const first = model.toSorted((a, b) => a.rank - b.rank || a.id - b.id)[0]
        assert.strictEqual(queue.peek(), first)
        assert.strictEqual(queue.size, model.length)
      }
      const take = (record: TaskRecord) => {
        model.splice(model.indexOf(record), 1)
        queue.remove(record)
        assert.isUndefined(record.queue)
        check()
      }
      for (const [id, { leaves, rank }] of program.entries()) {
        const record = recordOf(id, rank)
        model.push(record)
        queue.push(record)
        assert.strictEqual(record.queue, queue)
        check()
        if (leaves >= 0) take(model[leaves % model.length]!)
      }
      for (let first = queue.peek(); first !== undefined; first = queue.peek()) take(first)
      assert.strictEqual(model.length, 0)
    },
    { arbitrary: { runs: 300 } }
  )

  it("takes back what left it", () => {
    const queue = new StartQueue()
    const [a, b] = [recordOf(1, 0), recordOf(2, 0)]
    for (const record of [a, b, a]) {
      if (record.queue !== undefined) queue.remove(record)
      queue.push(record)
    }
    assert.strictEqual(queue.peek(), a)
    queue.remove(a)
    assert.strictEqual(queue.peek(), b)
  })

  it("puts the lower id first at the same rank", () => {
    assert.isTrue(startsBefore(recordOf(1, 5), recordOf(2, 5)))
    assert.isFalse(startsBefore(recordOf(2, 5), recordOf(1, 5)))
    assert.isTrue(startsBefore(recordOf(2, 4), recordOf(1, 5)))
  })
})
