/**
 * Makes a program that breaks a law smaller, as long as the smaller one breaks the same law under some schedule.
 */
import type { Violation } from "./model.ts"
import type { Kind, Program } from "./program.ts"
import { type Run, simulate } from "./simulation.ts"

export interface Failure {
  readonly program: Program
  /** Seed of the schedule. */
  readonly seed: number
  readonly run: Run
}

/** Under a smaller program chance takes another course, so that one schedule proves nothing. */
const schedules = 40

export const shrink = (failure: Failure, seconds: number): Failure => {
  const until = performance.now() + seconds * 1000
  let smallest = failure
  let found: Failure | undefined = failure
  while (found !== undefined) {
    found = undefined
    for (const program of smaller(smallest.program)) {
      found = fails(program, smallest)
      if (found !== undefined || performance.now() > until) break
    }
    smallest = found ?? smallest
  }
  return smallest
}

const fails = (program: Program, { run: { violation }, seed: first }: Failure): Failure | undefined => {
  for (let seed = first; seed < first + schedules; seed++) {
    const run = simulate(program, seed)
    if (kindOf(run.violation) === kindOf(violation)) return { program, seed, run }
  }
  return undefined
}

const kindOf = (violation: Violation | undefined): string | undefined => violation?.message.replaceAll(/\d+/g, "n")

/** What a program means without; everything else in it is needed. */
const optional = new Set([
  "priority",
  "delay",
  "timeToStart",
  "timeToLive",
  "keyUntil",
  "retry",
  "headed",
  "onFailed",
  "key",
  "group",
  "finalizer",
  "child",
  "giveUp",
  "grace",
  "rate"
])

const simplest: Readonly<Record<string, unknown>> = { millis: 1, ends: "succeeds", yields: 0.1, late: 0, dies: false }

/** Each smaller program differs in one place; the larger the part that is left out, the earlier it comes. */
const smaller = (program: Program): Array<Program> => {
  const found: Array<{ readonly size: number; readonly program: Program }> = []
  const visit = (value: unknown, rebuild: (part: unknown) => Program): void => {
    const add = (part: unknown) => {
      const candidate = rebuild(part)
      found.push({ size: JSON.stringify(candidate).length, program: candidate })
    }
    if (Array.isArray(value)) {
      for (const [i, item] of value.entries()) {
        if (value.length > 1 || "op" in item) add(value.toSpliced(i, 1))
        visit(item, (part) => rebuild(value.with(i, part)))
      }
    } else if (typeof value === "object" && value !== null) {
      for (const [key, item] of Object.entries(value)) {
        const { [key]: _, ...others } = value as Record<string, unknown>
        if (optional.has(key)) add(others)
        if (key in simplest && item !== simplest[key]) add({ ...value, [key]: simplest[key] })
        visit(item, (part) => rebuild({ ...value, [key]: part }))
      }
    }
  }
  // SAFETY: each part is rebuilt with what it was made of.
  visit(program.clients, (clients) => ({ ...program, clients }) as Program)
  const { watched: _, ...unwatched } = program
  if (program.watched !== undefined) found.push({ size: 0, program: unwatched })
  for (const [i, kind] of program.kinds.entries()) {
    // Tasks name their kind by its place, so it keeps that.
    visit(kind, (part) => ({ ...program, kinds: program.kinds.with(i, part as Kind) }))
  }
  visit(program.world, (world) => ({ ...program, world }) as Program)
  visit(program.manager, (manager) => ({ ...program, manager }) as Program)
  return found.toSorted((a, b) => a.size - b.size).map(({ program }) => program)
}
