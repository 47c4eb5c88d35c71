// The table, as text or as Markdown: a block for each figure, a line for each contender.
import { styleText } from "node:util"
import type { Block, Row } from "./runner.ts"

/** Label, figure, spread, comparison, goal, verdict. */
type Cells = readonly [string, string, string, string, string, string]

export const text = (block: Block): string => {
  const lines = block.rows.map((row) => {
    const [label, ...rest] = cells(block, row)
    const verdict = rest.pop()!
    return `${columns(`  ${label}`, rest)}  ${colour(row.verdict, verdict)}`.trimEnd()
  })
  return [styleText("bold", `${block.title} (${block.unit})`), ...lines].join("\n")
}

export const heading = (): string => columns("", ["figure", "spread", "compared", "goal"])

const columns = (label: string, figures: ReadonlyArray<string>): string =>
  `${label.padEnd(40)}${figures.map((figure) => figure.padStart(10)).join("")}`

const colour = (verdict: Row["verdict"], text: string): string => {
  if (verdict === undefined) return text
  return styleText(verdict === "met" ? "green" : verdict === "missed" ? "yellow" : "red", text)
}

export const markdown = (blocks: ReadonlyArray<Block>): string =>
  [
    ["", "figure", "spread", "compared", "goal", ""],
    ["---", "--:", "--:", "--:", "--:", "---"],
    ...blocks.flatMap((block) => [
      [`**${block.title}** (${block.unit})`, "", "", "", "", ""],
      ...block.rows.map((row) => cells(block, row))
    ])
  ].map((line) => `| ${line.join(" | ")} |`).join("\n")

const cells = ({ compare }: Block, { compared, figure, goal, label, verdict }: Row): Cells => {
  const half = (figure.high - figure.low) / 2
  return [
    label,
    readable(figure.median),
    half === 0 ? "" : `± ${(half / figure.median * 100).toFixed(0)} %`,
    compared === undefined ? "" : comparedText(compare, compared.median),
    goal === undefined ? "" : goalText(compared === undefined ? undefined : compare, goal),
    verdict ?? ""
  ]
}

const comparedText = (compare: Block["compare"], value: number): string => {
  if (compare === "ratio") return `${readable(value)} ×`
  return `${value < 0 ? "−" : "+"}${readable(Math.abs(value))}`
}

const goalText = (compare: Block["compare"], { atLeast, atMost }: NonNullable<Row["goal"]>): string => {
  const sign = atLeast === undefined ? "≤" : "≥"
  const bound = readable(atLeast ?? atMost!)
  return compare === "ratio" ? `${sign} ${bound} ×` : `${sign} ${compare === "difference" ? "+" : ""}${bound}`
}

const readable = (value: number): string => {
  if (value >= 1e6) return `${(value / 1e6).toFixed(2)} M`
  if (value >= 1e5) return `${(value / 1e3).toFixed(0)} k`
  if (value >= 1e4) return `${(value / 1e3).toFixed(1)} k`
  if (value >= 100) return value.toFixed(0)
  if (value >= 10) return String(Number(value.toFixed(1)))
  return String(Number(value.toFixed(2)))
}
