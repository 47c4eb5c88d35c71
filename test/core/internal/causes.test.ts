import { assert, describe, it } from "@effect/vitest"
import { Cause } from "effect"
import {
  asDefects,
  Capped,
  describeReason,
  firstLine,
  markedReasons,
  readable,
  withoutInterrupts,
  withoutStack
} from "../../../packages/core/src/internal/causes.ts"

const unreadable = {
  get message(): string {
    throw new Error("message")
  }
}

const messages = (cause: Cause.Cause<unknown>) =>
  cause.reasons.map((reason) =>
    Cause.isFailReason(reason) ? reason.error : Cause.isDieReason(reason) ? String(reason.defect) : reason._tag
  )

describe("Capped", () => {
  const capped = (count: number) => {
    const items = new Capped<number>()
    for (let i = 1; i <= count; i++) items.add(i)
    return items
  }
  const kept = (count: number) => messages(capped(count).toCause((item) => [Cause.makeFailReason(item)], "thing"))

  it("keeps up to 16 items, in order", () => {
    for (const count of [0, 1, 8, 9, 15, 16]) {
      assert.deepStrictEqual(kept(count), Array.from({ length: count }, (_, i) => i + 1))
    }
  })

  it("keeps the first 8 and the last 8 of more, and says how many it left out", () => {
    assert.deepStrictEqual(kept(17), [1, 2, 3, 4, 5, 6, 7, 8, "Error: 1 more thing in between", ...range(10, 17)])
    assert.deepStrictEqual(kept(18), [1, 2, 3, 4, 5, 6, 7, 8, "Error: 2 more things in between", ...range(11, 18)])
    assert.deepStrictEqual(kept(5000).slice(8), ["Error: 4984 more things in between", ...range(4993, 5000)])
  })

  it("tells the last item", () => {
    for (const count of [1, 8, 9, 16, 17, 5000]) assert.strictEqual(capped(count).last, count)
  })
})

const range = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, i) => from + i)

describe("markedReasons", () => {
  const marked = (...reasons: ReadonlyArray<Cause.Reason<unknown>>) =>
    Cause.pretty(Cause.fromReasons(markedReasons({ attempt: 3, cause: Cause.fromReasons(reasons) })))

  it("puts the attempt's number into the text of each reason", () => {
    const reasons = [Cause.makeFailReason("a"), Cause.makeDieReason(new TypeError("b")), Cause.makeInterruptReason(7)]
    assert.deepStrictEqual(marked(...reasons).split("\n").filter((line) => !line.startsWith("    at ")), [
      "Error: attempt 3: a",
      "TypeError: attempt 3: b",
      "Error: attempt 3: interrupted itself"
    ])
  })

  it("keeps the frames of the stack, and shows a message of several lines once", () => {
    const [first, second, third, ...frames] = marked(Cause.makeFailReason(new Error("a\nb\n    at c"))).split("\n")
    assert.deepStrictEqual([first, second, third], ["Error: attempt 3: a", "b", "    at c"])
    assert.match(frames[0]!, /causes\.test\.ts/)
    assert.isFalse(frames.includes("    at c"))
  })

  it("makes an error of its own, with the fields of the task's", () => {
    const error = Object.assign(new Error("a"), { code: 7 })
    const [reason] = markedReasons({ attempt: 1, cause: Cause.fail(error) })
    const shown = reason !== undefined && Cause.isFailReason(reason) ? reason.error : undefined
    assert.notStrictEqual(shown, error)
    assert.strictEqual((shown as typeof error).code, 7)
    assert.strictEqual(error.message, "a")
  })
})

describe("what went wrong beside the task", () => {
  it("becomes defects, and an interruption says whose it was", () => {
    const cause = Cause.fromReasons([Cause.makeFailReason("a"), Cause.makeDieReason("b"), Cause.makeInterruptReason(1)])
    assert.deepStrictEqual(messages(asDefects(cause, "onFailed")), ["a", "b", "Error: onFailed interrupted itself"])
    assert.deepStrictEqual(withoutInterrupts(cause).reasons, cause.reasons.slice(0, 2))
  })

  it("stays as it is, unless it throws when it is read", () => {
    const reason = Cause.makeDieReason(new Error("a"))
    assert.strictEqual(readable(reason), reason)
    const shown = readable(Cause.makeDieReason(unreadable))
    assert.match(Cause.pretty(Cause.fromReasons([shown])), /property access threw/)
  })
})

describe("a line of text", () => {
  it("names the error's class unless that is Error, and has the first line of its message", () => {
    assert.strictEqual(firstLine("a\nb"), "a")
    assert.strictEqual(firstLine(new Error("a\nb")), "a")
    assert.strictEqual(firstLine(new RangeError("a")), "RangeError: a")
    assert.strictEqual(firstLine(new RangeError()), "RangeError")
    assert.strictEqual(describeReason(Cause.makeFailReason("a")), "a")
    assert.strictEqual(describeReason(Cause.makeDieReason(new RangeError("a"))), "RangeError: a")
    assert.strictEqual(describeReason(Cause.makeInterruptReason(1)), "interrupted itself")
  })
})

describe("withoutStack", () => {
  it("makes an error without frames, and later ones have theirs again, even after a throw", () => {
    assert.strictEqual(withoutStack(() => new Error("a")).stack, "Error: a")
    assert.throws(() =>
      withoutStack(() => {
        throw new Error("b")
      })
    )
    assert.match(new Error("c").stack!, /causes\.test\.ts/)
  })
})
