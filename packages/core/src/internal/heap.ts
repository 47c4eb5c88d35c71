/**
 * A binary heap whose items know their place, so that any of them leaves it in O(log n).
 *
 * Written here because Effect has none: `TxPriorityQueue` is transactional and removes in O(n), and a cancel must not
 * scan 100,000 delayed tasks.
 */

export interface HeapItem {
  /** Place in the heap that holds the item, -1 when none does. */
  heapIndex: number
}

export class Heap<A extends HeapItem> {
  readonly #before: (a: A, b: A) => boolean
  readonly #items: Array<A> = []

  constructor(before: (a: A, b: A) => boolean) {
    this.#before = before
  }

  get size(): number {
    return this.#items.length
  }

  peek(): A | undefined {
    return this.#items[0]
  }

  toArray(): ReadonlyArray<A> {
    return this.#items
  }

  push(item: A): void {
    this.#items.push(item)
    this.#up(item, this.#items.length - 1)
  }

  pop(): A | undefined {
    const first = this.#items[0]
    if (first !== undefined) this.remove(first)
    return first
  }

  remove(item: A): void {
    const index = item.heapIndex
    item.heapIndex = -1
    const last = this.#items.pop()!
    if (last === item) return
    this.#up(last, index)
    this.#down(last, last.heapIndex)
  }

  #up(item: A, from: number): void {
    let index = from
    while (index > 0) {
      const parent = (index - 1) >> 1
      if (!this.#before(item, this.#items[parent]!)) break
      this.#place(this.#items[parent]!, index)
      index = parent
    }
    this.#place(item, index)
  }

  #down(item: A, from: number): void {
    let index = from
    while (true) {
      let child = 2 * index + 1
      if (child >= this.#items.length) break
      if (child + 1 < this.#items.length && this.#before(this.#items[child + 1]!, this.#items[child]!)) child++
      if (!this.#before(this.#items[child]!, item)) break
      this.#place(this.#items[child]!, index)
      index = child
    }
    this.#place(item, index)
  }

  #place(item: A, index: number): void {
    this.#items[index] = item
    item.heapIndex = index
  }
}
