/**
 * Sees what a manager tells besides its answers: log entries, error reports, events and spans.
 */
import type { ShutdownReport, TaskEvent, TaskFailedError, TaskStats } from "@effect-tasks/core"
import { Cause, Context, ErrorReporter, Logger, type LogLevel, References, Tracer } from "effect"
import { type Call, mayHold, type Model, type Task, Violation } from "./model.ts"
import type { Program } from "./program.ts"

interface Entry {
  readonly level: LogLevel.LogLevel
  readonly cause: Cause.Cause<unknown>
  readonly call: unknown
}

/** The annotation that tells which call an entry belongs to. */
export const callAnnotation = "call"

export class Witness {
  readonly events: Array<TaskEvent> = []
  readonly #model: Model
  readonly #program: Program
  /** Of tasks, by id. */
  readonly #entries = new Map<number, Array<Entry>>()
  readonly #reports: Array<string> = []
  #warnings = 0

  constructor(program: Program, model: Model) {
    this.#program = program
    this.#model = model
  }

  /** What a fiber has to be given, so that it is seen. */
  watch(context: Context.Context<never>): Context.Context<never> {
    const { debug, spans } = this.#program.watched ?? {}
    const seen = context.pipe(
      Context.add(Logger.CurrentLoggers, new Set([this.#logger])),
      Context.add(References.MinimumLogLevel, debug === true ? "Debug" : "Info"),
      Context.add(ErrorReporter.CurrentErrorReporters, new Set([this.#reporter]))
    )
    return spans === true ? Context.add(seen, Tracer.Tracer, this.#tracer) : seen
  }

  readonly #logger = Logger.make<unknown, void>(({ cause, fiber, logLevel, message }) => {
    const { [callAnnotation]: call, taskId } = fiber.getRef(References.CurrentLogAnnotations)
    if (taskId === undefined) {
      if (String(message).startsWith("shutdown:")) this.#warnings++
      return
    }
    const entries = this.#entries.get(Number(taskId)) ?? []
    this.#entries.set(Number(taskId), [...entries, { level: logLevel, cause, call }])
  })

  readonly #reporter = ErrorReporter.make(({ error }) => void this.#reports.push((error as TaskFailedError).id))

  readonly #tracer = Tracer.make({ span: (options) => new Tracer.NativeSpan(options) })

  /** Law 10: a task's span is a child of its submitter's, or linked to it when the task starts later. */
  spanOf(task: Task, call: Call, own: Tracer.AnySpan | undefined, submitters: Tracer.AnySpan | undefined): void {
    if (this.#program.watched?.spans !== true) return
    if (own?._tag !== "Span" || own.name !== task.name) {
      throw this.#model.violation(10, `task ${task.id} has no span of its own`)
    }
    if (submitters === undefined) return
    const parent = own.parent._tag === "Some" ? own.parent.value.spanId : undefined
    const linked = own.links.some(({ span }) => span.spanId === submitters.spanId)
    const later = task.attempts > 1 || (task.kind.delay ?? 0) > 0 || call.verb === "schedule"
    if (later && (parent !== undefined || !linked)) {
      throw this.#model.violation(10, `the span of task ${task.id} is not linked`)
    }
    // A task that is retried by its id starts long after its submit.
    if (!later && parent !== submitters.spanId && (parent !== undefined || !linked)) {
      throw this.#model.violation(10, `the span of task ${task.id} is not its submitter's child`)
    }
  }

  /** Everything has ended. */
  end(report: ShutdownReport, stats: TaskStats, endedBefore: ReadonlyArray<number>): void {
    this.#failuresAreLoggedOnce()
    this.#reportIsWhole(report, stats, endedBefore)
    if (this.#program.watched?.events === true) this.#eventsAreInOrder()
  }

  // --- law 12 ---

  #failuresAreLoggedOnce(): void {
    for (const task of this.#model.tasks.values()) {
      const { id, outcome } = task
      const errors = (this.#entries.get(id) ?? []).filter(({ level }) => level === "Error")
      const reports = this.#reports.filter((reported) => reported === String(id)).length
      if (errors.length > 1) throw new Violation(12, `task ${id} has ${errors.length} error entries`)
      if (reports !== errors.length) throw new Violation(12, `task ${id}: ${errors.length} entries, ${reports} reports`)
      if (outcome === undefined) continue
      const [entry] = errors
      if (outcome._tag !== "Failed") {
        if (entry !== undefined) throw new Violation(12, `task ${id} did not fail and was logged as an error`)
      } else if (entry !== undefined) this.#tellsAll(task, entry)
      else if (!this.#mayBeTaken(task)) throw new Violation(12, `task ${id} failed and nothing was logged`)
    }
  }

  /** A live `run` takes the failure to its caller. */
  #mayBeTaken(task: Task): boolean {
    return this.#model.calls.some(({ labels, verb }) => verb === "run" && mayHold(labels, task))
  }

  #tellsAll({ attempts, current, id, kind, name }: Task, { call, cause }: Entry): void {
    const [head, ...reasons] = cause.reasons.map((reason) => String(Cause.squash(Cause.fromReasons([reason]))))
    if (head?.includes(`${name} failed after ${attempts} attempt`) !== true) {
      throw new Violation(12, `task ${id}: ${head}`)
    }
    if (kind.headed === true && !head.includes(`headed ${name}`)) {
      throw new Violation(12, `task ${id} has no head: ${head}`)
    }
    const numbers = reasons.flatMap((reason) => /attempt (\d+):/.exec(reason)?.[1] ?? [])
    const expected = Array.from({ length: attempts }, (_, i) => String(i + 1))
    if ([...new Set(numbers)].join() !== expected.join()) {
      throw new Violation(12, `task ${id}: the entry tells attempts ${numbers.join()}, not ${expected.join()}`)
    }
    if (call !== current?.call.number) throw new Violation(10, `the entry of task ${id} has the annotations of another`)
  }

  // --- law 11 ---

  #reportIsWhole(
    { cause, stats, unfinished }: ShutdownReport,
    last: TaskStats,
    endedBefore: ReadonlyArray<number>
  ): void {
    if (JSON.stringify(stats) !== JSON.stringify(last)) {
      throw new Violation(11, "the report has other counts than the end")
    }
    const [most, least] = endedBefore.map((before) => last.failed + last.aborted - before)
    if (unfinished.length > most! || unfinished.length < least!) {
      throw new Violation(11, `the report names ${unfinished.length} tasks, and ${most} failed or were aborted`)
    }
    const ids = new Set(unfinished.map(({ id }) => id))
    if (ids.size < unfinished.length) throw new Violation(2, "the report names a task twice")
    for (const { id } of unfinished) {
      if (this.#model.tasks.get(Number(id))?.outcome?._tag === "Completed") {
        throw new Violation(11, `the report names task ${id}, which completed`)
      }
    }
    const warnings = unfinished.length > 0 ? 1 : 0
    if (this.#warnings !== warnings) throw new Violation(12, `the report was logged ${this.#warnings} times`)
    if ((cause._tag === "Some") !== unfinished.length > 0) {
      throw new Violation(11, "the report has no cause, or one too many")
    }
  }

  // --- events ---

  #eventsAreInOrder(): void {
    const first = this.events[0]?.seq ?? 0
    const told = new Map<string, string>()
    for (const [i, { _tag, seq, task: { attempts, id } }] of this.events.entries()) {
      if (seq !== first + i) throw new Violation(0, `event ${seq} follows event ${first + i - 1}`)
      const story = told.get(id)
      // The reader may have come after the beginning.
      if (story !== undefined || _tag === "Submitted") {
        told.set(id, `${story ?? ""}${_tag}${_tag === "Started" ? attempts : ""} `)
      }
    }
    for (const [id, story] of told) {
      if (!/^Submitted (Started\d+ Retrying )*(Started\d+ )?(Completed|Failed|Aborted) $/.test(story)) {
        throw new Violation(2, `task ${id}: ${story}`)
      }
      const numbers = Array.from(story.matchAll(/Started(\d+)/g), ([, number]) => Number(number))
      if (numbers.some((number, i) => number !== i + 1)) throw new Violation(3, `task ${id}: ${story}`)
      const { outcome } = this.#model.tasks.get(Number(id)) ?? {}
      if (outcome !== undefined && !story.endsWith(`${outcome._tag} `)) throw new Violation(2, `task ${id}: ${story}`)
    }
  }
}
