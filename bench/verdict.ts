/** A bound for a figure or, where contenders are compared, for what the comparison gives. */
export interface Goal {
  readonly atLeast?: number
  readonly atMost?: number
  /** The bound beyond which `pnpm bench` fails: far from what is measured, since noise is large. */
  readonly guard?: number
}

export type Verdict = "met" | "missed" | "broken"

export const judge = ({ atLeast, atMost, guard }: Goal, value: number): Verdict => {
  const within = (bound: number): boolean => atLeast === undefined ? value <= bound : value >= bound
  if (within(atLeast ?? atMost!)) return "met"
  return guard === undefined || within(guard) ? "missed" : "broken"
}
