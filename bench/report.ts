// The table: one line a contender, of the subject first.
import type { Goal } from "./benchmarks.ts"
import type { Result, Row } from "./runner.ts"

/** `[label, figure, spread, ratio, goal, verdict]` */
const cells = (row: Row): ReadonlyArray<string> => [
  row.label,
  readable(row.figure.median),
  `± ${percent((row.figure.high - row.figure.low) / 2 / row.figure.median)}`,
  row.ratio === undefined ? "" : `${readable(row.ratio.median)} ×`,
  row.goal === undefined ? "" : goalText(row.goal),
  row.goal === undefined || row.ratio === undefined ? "" : meets(row.goal, row.ratio.median) ? "met" : "missed"
]

const goalText = ({ atLeast, atMost }: Goal): string => atLeast === undefined ? `≤ ${atMost} ×` : `≥ ${atLeast} ×`

const meets = ({ atLeast = -Infinity, atMost = Infinity }: Goal, value: number): boolean =>
  value >= atLeast && value <= atMost

const readable = (value: number): string => {
  if (value >= 1e6) return `${(value / 1e6).toFixed(2)} M`
  if (value >= 1e3) return `${(value / 1e3).toFixed(value >= 1e5 ? 0 : 1)} k`
  return value >= 100 ? value.toFixed(0) : value.toPrecision(2)
}

const percent = (part: number): string => `${(part * 100).toFixed(0)} %`

export const text = (result: Result): string => {
  const lines = result.rows.map(cells)
  return [
    result.title,
    ...lines.map(([label, figure, spread, ratio, goal, verdict]) =>
      `  ${label!.padEnd(36)}${figure!.padStart(9)}  ${spread!.padEnd(7)}${ratio!.padStart(9)}  ${
        goal!.padEnd(8)
      }${verdict}`.trimEnd()
    )
  ].join("\n")
}
