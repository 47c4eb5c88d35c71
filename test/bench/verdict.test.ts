import { describe, expect, it } from "vitest"
import { quantile } from "../../bench/round.ts"
import { judge } from "../../bench/verdict.ts"

describe("judge", () => {
  it("meets a goal at its bound and misses it beyond", () => {
    expect(judge({ atLeast: 0.7 }, 0.7)).toBe("met")
    expect(judge({ atLeast: 0.7 }, 0.69)).toBe("missed")
    expect(judge({ atMost: 5 }, 5)).toBe("met")
    expect(judge({ atMost: 5 }, 5.01)).toBe("missed")
  })

  it("breaks only beyond the guard", () => {
    expect(judge({ atLeast: 0.7, guard: 0.4 }, 0.4)).toBe("missed")
    expect(judge({ atLeast: 0.7, guard: 0.4 }, 0.39)).toBe("broken")
    expect(judge({ atMost: 5, guard: 15 }, 15)).toBe("missed")
    expect(judge({ atMost: 5, guard: 15 }, 15.1)).toBe("broken")
  })

  it("never breaks a goal without a guard", () => {
    expect(judge({ atMost: 5 }, 1e9)).toBe("missed")
  })
})

describe("quantile", () => {
  it("is the middle of an odd number of values, and between the two middle ones of an even number", () => {
    expect(quantile([3, 1, 2], 0.5)).toBe(2)
    expect(quantile([4, 1, 2, 3], 0.5)).toBe(2.5)
  })

  it("reaches from the least to the largest value", () => {
    expect(quantile([3, 1, 2], 0)).toBe(1)
    expect(quantile([3, 1, 2], 1)).toBe(3)
    expect(quantile([10], 0.99)).toBe(10)
  })
})
