import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import { Heap, type HeapItem } from "../../../packages/core/src/internal/heap.ts"

interface Item extends HeapItem {
  readonly value: number
}

/** Negative: takes the item at that place (of those still in) out of the middle; otherwise pushes the value. */
const operations = Schema.Array(Schema.Int.pipe(Schema.check(Schema.isBetween({ minimum: -20, maximum: 20 }))))

describe("Heap", () => {
  it.prop("gives its items in order, whatever left it from the middle", [operations], ([program]) => {
    const heap = new Heap<Item>((a, b) => a.value < b.value)
    const model: Array<Item> = []
    for (const value of program) {
      if (value >= 0) {
        const item = { value, heapIndex: -1 }
        model.push(item)
        heap.push(item)
      } else if (model.length > 0) {
        const [item] = model.splice(-value % model.length, 1)
        heap.remove(item!)
        assert.strictEqual(item!.heapIndex, -1)
      }
      assert.strictEqual(heap.size, model.length)
      const values = heap.toArray().map((item) => item.value)
      assert.deepStrictEqual(values.toSorted(), model.map((item) => item.value).toSorted())
    }
    const values: Array<number> = []
    for (let item = heap.pop(); item !== undefined; item = heap.pop()) values.push(item.value)
    assert.deepStrictEqual(values, model.map(({ value }) => value).toSorted((a, b) => a - b))
    assert.isUndefined(heap.peek())
  }, { arbitrary: { runs: 300 } })

  it("is empty at first", () => {
    const heap = new Heap<Item>((a, b) => a.value < b.value)
    assert.isUndefined(heap.peek())
    assert.isUndefined(heap.pop())
    assert.strictEqual(heap.size, 0)
  })
})
