/** How far it is: a bar that is redrawn in place on a terminal, a few plain lines anywhere else. */
import { Console, Duration, Effect, Schedule } from "effect"
import { styleText } from "node:util"

export interface Progress {
  readonly done: number
  /** Files found so far: all of them when `counted`. */
  readonly found: number
  readonly counted: boolean
  readonly retries: number
  readonly failed: number
  readonly seconds: number
}

export const onTerminal = process.stderr.isTTY && process.env["TERM"] !== "dumb"

/** Shows the progress on standard error until it is interrupted. */
export const show = (progress: Effect.Effect<Progress>): Effect.Effect<unknown> =>
  onTerminal ? redraw(progress) : print(progress)

const redraw = (progress: Effect.Effect<Progress>) =>
  Effect.map(progress, (now) => write(`\r${bar(now, process.stderr.columns || 80)}\x1b[K`)).pipe(
    Effect.repeat(Schedule.spaced("100 millis")),
    Effect.ensuring(Effect.sync(() => write("\r\x1b[K")))
  )

/** After 1, 3, 7, 15 and 31 seconds, then twice a minute: a log should not grow with the time. */
export const print = (progress: Effect.Effect<Progress>) =>
  Effect.flatMap(progress, (now) => Console.error(parts(now).join("  "))).pipe(
    Effect.schedule(Schedule.min([Schedule.exponential("1 second"), Schedule.spaced("30 seconds")]))
  )

/** At most `columns - 1` wide, so that the cursor stays in its line. */
export const bar = (progress: Progress, columns: number): string => {
  const shown = parts(progress)
  while (shown.join("  ").length >= columns && shown.length > 1) shown.pop()
  const text = shown.join("  ").slice(0, columns - 1)
  const width = Math.min(columns - text.length - 4, 30)
  if (width < 5) return text
  const filled = progress.counted ? Math.floor(width * progress.done / Math.max(progress.found, 1)) : 0
  const colour = progress.failed > 0 ? "yellow" : "green"
  return `[${styleText(colour, "#".repeat(filled), { stream: process.stderr })}${".".repeat(width - filled)}] ${text}`
}

/** The most important first: a narrow terminal shows as many as it has room for. */
const parts = ({ counted, done, failed, found, retries, seconds }: Progress): Array<string> => {
  const rate = done / Math.max(seconds, 0.001)
  const left = Duration.format(Duration.seconds(Math.ceil((found - done) / Math.max(rate, 0.1))))
  return [
    counted ? `${number(done)}/${number(found)} files` : `${number(done)} files`,
    `failed ${number(failed)}`,
    ...counted ? [`${left} left`] : [],
    `${number(rate)}/s`,
    `retries ${number(retries)}`
  ]
}

export const number = (n: number): string => Math.round(n).toLocaleString("en-US")

const write = (text: string): boolean => process.stderr.write(text)
