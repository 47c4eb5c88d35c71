import { TaskManager } from "@effect-tasks/core"
import { assert, describe, it } from "@effect/vitest"
import { Context, Duration, Effect, Exit, Logger, Option, References, Schedule, Tracer } from "effect"
import { TestClock } from "effect/testing"

const one = TaskManager.layer({ workers: 1 })

/** A tracer that keeps the spans it makes, in their order. */
const recordSpans = () => {
  const spans: Array<Tracer.NativeSpan> = []
  const roots: Array<boolean> = []
  const tracer = Tracer.make({
    span(options) {
      const span = new Tracer.NativeSpan(options)
      spans.push(span)
      roots.push(options.root)
      return span
    }
  })
  return { spans, roots, traced: Effect.provideService(Tracer.Tracer, tracer) }
}

const parentId = (span: Tracer.Span | undefined) => Option.getOrUndefined(span!.parent)?.spanId
const linkIds = (span: Tracer.Span | undefined) => span!.links.map(({ span }) => span.spanId)

describe("the span of an attempt", () => {
  it.effect("a first attempt without delay is a child of the submitter's span", () =>
    Effect.gen(function*() {
      const { spans, traced } = recordSpans()
      yield* TaskManager.run(Effect.void, { name: "mail" }).pipe(Effect.withSpan("request"), traced)
      const [request, mail, ...more] = spans
      assert.deepStrictEqual(more, [])
      assert.strictEqual(mail!.name, "mail")
      assert.strictEqual(mail!.kind, "consumer")
      assert.strictEqual(mail!.traceId, request!.traceId)
      assert.strictEqual(parentId(mail), request!.spanId)
      assert.deepStrictEqual(mail!.links, [])
    }).pipe(Effect.provide(one)))

  it.effect("says which task of which manager it is, and which attempt", () =>
    Effect.gen(function*() {
      const { spans, traced } = recordSpans()
      yield* traced(TaskManager.run(Effect.void))
      yield* traced(TaskManager.run(Effect.fail("x"), { retry: Schedule.recurs(1) })).pipe(Effect.ignore)
      assert.deepStrictEqual(spans.map(({ attributes, name }) => [name, Object.fromEntries(attributes)]), [
        ["task", { "task.manager": "@effect-tasks/core/TaskManager", "task.id": "1", "task.attempt": 1 }],
        ["task", { "task.manager": "@effect-tasks/core/TaskManager", "task.id": "2", "task.attempt": 1 }],
        ["task", { "task.manager": "@effect-tasks/core/TaskManager", "task.id": "2", "task.attempt": 2 }]
      ])
    }).pipe(Effect.provide(one)))

  it.effect("a retry is a root span with a link to the submitter's", () =>
    Effect.gen(function*() {
      const { roots, spans, traced } = recordSpans()
      const run = TaskManager.run(Effect.fail("x"), { retry: Schedule.recurs(2) })
      yield* run.pipe(Effect.ignore, Effect.withSpan("request"), traced)
      const [request, first, second, third] = spans
      assert.strictEqual(parentId(first), request!.spanId)
      for (const retry of [second, third]) {
        assert.deepStrictEqual([parentId(retry), linkIds(retry)], [undefined, [request!.spanId]])
        assert.notStrictEqual(retry!.traceId, request!.traceId)
      }
      assert.notStrictEqual(second!.traceId, third!.traceId)
      assert.deepStrictEqual(roots, [false, false, true, true])
    }).pipe(Effect.provide(one)))

  it.effect("a delayed start is a root span with a link from the first millisecond on", () =>
    Effect.gen(function*() {
      const { spans, traced } = recordSpans()
      const submit = (delay: number) => TaskManager.submit(Effect.void, { delay })
      yield* Effect.forEach([0, 1], submit).pipe(Effect.withSpan("request"), traced)
      yield* TestClock.adjust(1)
      const [request, now, later] = spans
      assert.deepStrictEqual([parentId(now), linkIds(now)], [request!.spanId, []])
      assert.deepStrictEqual([parentId(later), linkIds(later)], [undefined, [request!.spanId]])
    }).pipe(Effect.provide(one)))

  it.effect("a task that waited for a worker is still a child", () =>
    Effect.gen(function*() {
      const { spans, traced } = recordSpans()
      const tasks = yield* TaskManager
      yield* tasks.pause
      const handle = yield* tasks.submit(Effect.void).pipe(Effect.withSpan("request"), traced)
      yield* TestClock.adjust("1 hour")
      yield* tasks.resume
      yield* handle.join
      assert.strictEqual(parentId(spans[1]), spans[0]!.spanId)
    }).pipe(Effect.provide(one)))

  it.effect("a scheduled occurrence is linked to the span that made the schedule, which ends long before", () =>
    Effect.gen(function*() {
      const { spans, traced } = recordSpans()
      const schedule = TaskManager.schedule(Effect.void, Schedule.spaced("1 second"), { name: "tick" })
      yield* schedule.pipe(Effect.withSpan("setup"), traced)
      yield* TestClock.adjust("2 seconds")
      assert.deepStrictEqual(
        spans.slice(1).map((span) => [span.name, parentId(span), linkIds(span)]),
        [["tick", undefined, [spans[0]!.spanId]], ["tick", undefined, [spans[0]!.spanId]]]
      )
    }).pipe(Effect.provide(one)))

  it.effect("what a scheduled occurrence submits is a child of its span", () =>
    Effect.gen(function*() {
      const { spans, traced } = recordSpans()
      const occurrence = TaskManager.run(Effect.void, { name: "inner" })
      yield* traced(TaskManager.schedule(occurrence, Schedule.recurs(1)))
      yield* Effect.yieldNow
      yield* TaskManager.use(({ awaitIdle }) => awaitIdle)
      assert.deepStrictEqual(spans.map(({ name }) => name), ["task", "inner"])
      assert.strictEqual(parentId(spans[1]), spans[0]!.spanId)
    }).pipe(Effect.provide(one)))

  it.effect("a failed task that runs again by id is linked to its first submitter's span", () =>
    Effect.gen(function*() {
      const { spans, traced } = recordSpans()
      const tasks = yield* TaskManager
      const handle = yield* tasks.submit(Effect.fail("x")).pipe(Effect.withSpan("request"), traced)
      yield* handle.await
      yield* tasks.retry(handle.id)
      yield* tasks.awaitIdle
      const [request, , again] = spans
      assert.deepStrictEqual([parentId(again), linkIds(again)], [undefined, [request!.spanId]])
    }).pipe(Effect.provide(one)))

  it.effect("is a root without links when the submitter has a tracer and no span", () =>
    Effect.gen(function*() {
      const { roots, spans, traced } = recordSpans()
      yield* traced(TaskManager.run(Effect.void))
      assert.deepStrictEqual([parentId(spans[0]), linkIds(spans[0])], [undefined, []])
      assert.deepStrictEqual(roots, [true])
    }).pipe(Effect.provide(one)))

  it.effect("does not exist when the submitter's context has no tracer, even inside a span", () =>
    Effect.gen(function*() {
      const span = TaskManager.run(Effect.option(Effect.currentParentSpan))
      assert.deepStrictEqual(yield* span, Option.none())
      assert.deepStrictEqual(yield* Effect.withSpan(span, "request"), Option.none())
    }).pipe(Effect.provide(one)))

  it.effect("follows the submitter's tracer, not the manager's", () =>
    Effect.gen(function*() {
      const a = recordSpans()
      const b = recordSpans()
      const manager = recordSpans()
      yield* Effect.gen(function*() {
        yield* a.traced(TaskManager.run(Effect.void, { name: "a" }))
        yield* b.traced(TaskManager.run(Effect.void, { name: "b" }))
      }).pipe(Effect.provide(one), manager.traced)
      assert.deepStrictEqual(a.spans.map(({ name }) => name), ["a"])
      assert.deepStrictEqual(b.spans.map(({ name }) => name), ["b"])
      assert.deepStrictEqual(manager.spans, [])
    }))

  it.effect("is not made while tracing is switched off", () =>
    Effect.gen(function*() {
      const { spans, traced } = recordSpans()
      yield* TaskManager.run(Effect.void).pipe(Effect.withTracerEnabled(false), traced)
      assert.deepStrictEqual(spans, [])
      yield* TaskManager.run(Effect.void).pipe(Effect.withTracerEnabled(true), traced)
      assert.strictEqual(spans.length, 1)
    }).pipe(Effect.provide(one)))

  it.effect("has as parent what a span made by the submitter itself would have", () =>
    Effect.gen(function*() {
      const { spans, traced } = recordSpans()
      const hidden = { annotations: Context.make(Tracer.DisablePropagation, true) }
      const both = Effect.andThen(Effect.withSpan(Effect.void, "own"), TaskManager.run(Effect.void))
      yield* both.pipe(Effect.withSpan("hidden", hidden), Effect.withSpan("request"), traced)
      yield* traced(Effect.withSpan(both, "hidden", hidden))
      const [request, own, task, ownRoot, taskRoot] = spans
      assert.strictEqual(parentId(own), request!.spanId)
      assert.strictEqual(parentId(task), request!.spanId)
      assert.deepStrictEqual([parentId(ownRoot), parentId(taskRoot)], [undefined, undefined])
    }).pipe(Effect.provide(one)))

  it.effect("is not sampled when the submitter's is not", () =>
    Effect.gen(function*() {
      const { spans, traced } = recordSpans()
      for (const sampled of [true, false]) {
        yield* TaskManager.run(Effect.void).pipe(Effect.withSpan("request", { sampled }), traced)
      }
      assert.deepStrictEqual(spans.map(({ sampled }) => sampled), [true, true, false, false])
    }).pipe(Effect.provide(one)))

  it.effect("carries the submitter's span annotations", () =>
    Effect.gen(function*() {
      const { spans, traced } = recordSpans()
      yield* TaskManager.run(Effect.void).pipe(Effect.annotateSpans("tenant", "a"), traced)
      assert.strictEqual(spans[0]!.attributes.get("tenant"), "a")
    }).pipe(Effect.provide(one)))

  it.effect("holds its parent as an external span, which keeps no chain of spans", () =>
    Effect.gen(function*() {
      const { spans, traced } = recordSpans()
      const child = TaskManager.run(Effect.void, { name: "child" })
      yield* TaskManager.run(child, { name: "parent" }).pipe(Effect.withSpan("request"), traced)
      const parents = spans.slice(1).map(({ parent }) => Option.getOrUndefined(parent))
      assert.deepStrictEqual(parents.map((parent) => [parent?._tag, parent?.spanId]), [
        ["ExternalSpan", spans[0]!.spanId],
        ["ExternalSpan", spans[1]!.spanId]
      ])
    }).pipe(Effect.provide(one)))

  it.effect("is the parent of the spans that the task makes", () =>
    Effect.gen(function*() {
      const { spans, traced } = recordSpans()
      yield* TaskManager.run(Effect.withSpan(Effect.void, "inner")).pipe(Effect.withSpan("request"), traced)
      assert.strictEqual(parentId(spans[2]), spans[1]!.spanId)
    }).pipe(Effect.provide(one)))

  it.effect("ends when the attempt's finalizers have run, with the attempt's exit", () =>
    Effect.gen(function*() {
      const { spans, traced } = recordSpans()
      const slow = Effect.acquireRelease(Effect.void, () => Effect.sleep("1 second"))
      const fail = Effect.andThen(slow, Effect.fail("x"))
      yield* Effect.forkChild(traced(Effect.ignore(TaskManager.run(fail))))
      yield* TestClock.adjust(999)
      assert.strictEqual(spans[0]!.status._tag, "Started")
      yield* TestClock.adjust(1)
      const { status } = spans[0]!
      assert(status._tag === "Ended")
      assert.deepStrictEqual(Exit.findErrorOption(status.exit), Option.some("x"))
      assert.strictEqual(Duration.toMillis(Duration.nanos(status.endTime - status.startTime)), 1000)
    }).pipe(Effect.provide(one)))

  it.effect("tells success, failure, defect and interruption apart", () =>
    Effect.gen(function*() {
      const { spans, traced } = recordSpans()
      const submit = <A>(task: Effect.Effect<A, string>) => traced(TaskManager.submit(task))
      yield* submit(Effect.void)
      yield* submit(Effect.fail("x"))
      yield* submit(Effect.die("y"))
      const hanging = yield* submit(Effect.never)
      yield* Effect.yieldNow
      yield* hanging.cancel
      const exits = spans.map(({ status }) => status._tag === "Ended" ? status.exit : undefined)
      assert.deepStrictEqual(
        exits.map((exit) => exit?._tag === "Failure" ? exit.cause.reasons.map(({ _tag }) => _tag) : exit?._tag),
        ["Success", ["Fail"], ["Die"], ["Interrupt"]]
      )
    }).pipe(Effect.provide(one)))

  it.effect("does not hold what runs around the attempts: the hook and the retry policy", () =>
    Effect.gen(function*() {
      const { spans, traced } = recordSpans()
      const look: Array<Option.Option<Tracer.AnySpan>> = []
      const note = Effect.map(Effect.option(Effect.currentParentSpan), (span) => void look.push(span))
      const handle = yield* TaskManager.submit(Effect.fail("x"), {
        retry: { schedule: Schedule.recurs(1), while: () => Effect.as(note, true) },
        onFailed: () => note
      }).pipe(Effect.withSpan("request"), traced)
      yield* handle.await
      assert.deepStrictEqual(look, [Option.none(), Option.none()])
      assert.strictEqual(spans.length, 3)
    }).pipe(Effect.provide(one)))

  it.effect("names the task in the stack of an error, and no line of this library", () =>
    Effect.gen(function*() {
      const { traced } = recordSpans()
      const frame = yield* traced(TaskManager.run(References.CurrentStackFrame, { name: "mail" }))
      assert.strictEqual(frame?.name, "mail")
      assert.isUndefined(frame?.stack())
      assert.isUndefined(frame?.parent)
    }).pipe(Effect.provide(one)))

  it.effect("a submit that joins by key makes no span of its own", () =>
    Effect.gen(function*() {
      const { spans, traced } = recordSpans()
      const submit = Effect.withSpan(TaskManager.submit(Effect.void, { key: "k" }), "request")
      const [first] = yield* traced(Effect.all([submit, submit]))
      yield* first.join
      assert.deepStrictEqual(spans.map(({ name }) => name), ["request", "request", "task"])
      assert.strictEqual(parentId(spans[2]), spans[0]!.spanId)
    }).pipe(Effect.provide(one)))
})

describe("log lines", () => {
  it.effect("carry the trace of the attempt", () =>
    Effect.gen(function*() {
      const { spans, traced } = recordSpans()
      const seen: Array<string | undefined> = []
      const logger = Logger.make<unknown, void>(({ fiber }) =>
        void seen.push(fiber.cache.span?.spanId, fiber.getRef(References.CurrentLogSpans)[0]?.[0])
      )
      yield* traced(TaskManager.run(Effect.log("in the task"))).pipe(Effect.provide(Logger.layer([logger])))
      assert.deepStrictEqual(seen, [spans[0]!.spanId, undefined])
    }).pipe(Effect.provide(one)))
})
