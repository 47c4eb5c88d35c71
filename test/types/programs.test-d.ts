// Programs as an application has them. That they compile is the test, together with the types that come out.
import { CurrentTask, TaskManager } from "@effect-tasks/core"
import type {
  QueueFullError,
  ShutdownReport,
  TaskAbortedError,
  TaskEvent,
  TaskHandle,
  TaskInfo,
  TaskManagerService,
  TaskManagerStoppedError,
  TaskOptions,
  TaskOutcome
} from "@effect-tasks/core"
import {
  type Cause,
  Context,
  Data,
  Effect,
  Fiber,
  Layer,
  ManagedRuntime,
  Option,
  Schedule,
  Schema,
  type Scope,
  Stream
} from "effect"
import { HttpServerRequest, HttpServerResponse } from "effect/http"
import { expectTypeOf, test } from "vitest"

class User extends Schema.Class<User>("User")({ id: Schema.String, email: Schema.String }) {}
class SmtpError extends Schema.TaggedError<SmtpError>()("SmtpError", { code: Schema.Int }) {}
class NoSuchMailbox extends Data.TaggedError("NoSuchMailbox")<{ readonly address: string }> {}
class HttpError extends Data.TaggedError("HttpError")<{ readonly status: number }> {}

class Users extends Context.Service<Users, {
  readonly markUndeliverable: (user: User) => Effect.Effect<void>
  readonly all: Stream.Stream<User>
}>()("app/Users") {}
class Smtp extends Context.Service<Smtp, {
  readonly send: (to: string, subject: string) => Effect.Effect<string, SmtpError | NoSuchMailbox>
}>()("app/Smtp") {}

declare const post: (url: string, body: unknown) => Effect.Effect<void, HttpError>

class Mail extends TaskManager.Named<Mail>()("app/Mail") {}
class Webhooks extends TaskManager.Named<Webhooks>()("app/Webhooks") {}

test("a request answers before its mail is sent", () => {
  const signUp = Effect.fn("signUp")(function*(user: User) {
    const users = yield* Users
    const smtp = yield* Smtp
    const handle = yield* Mail.submit(Effect.timeout(smtp.send(user.email, "welcome"), "10 seconds"), {
      name: "welcome-mail",
      key: user.id,
      retry: {
        times: 5,
        schedule: Schedule.exponential("100 millis"),
        while: (error) => error._tag !== "NoSuchMailbox"
      },
      error: () => `no welcome for ${user.id}`,
      onFailed: (cause: Cause.Cause<SmtpError | NoSuchMailbox | Cause.TimeoutError>) =>
        Effect.andThen(Effect.logInfo(cause), users.markUndeliverable(user))
    })
    return handle.id
  })
  expectTypeOf(signUp).returns.toEqualTypeOf<
    Effect.Effect<string, TaskManagerStoppedError, Mail | Smtp | Users>
  >()
})

test("a busy server says so", () => {
  const route = Effect.gen(function*() {
    const request = yield* HttpServerRequest.HttpServerRequest
    const tasks = yield* TaskManager
    const handle = yield* tasks.trySubmit(post("https://example.org", request.url), { name: "forward" })
    return HttpServerResponse.jsonUnsafe({ task: handle.id }, { status: 202 })
  }).pipe(
    Effect.catchTag(
      "QueueFullError",
      ({ capacity }) => Effect.succeed(HttpServerResponse.jsonUnsafe({ capacity }, { status: 503 }))
    ),
    Effect.catchTag("TaskManagerStoppedError", () => Effect.succeed(HttpServerResponse.empty({ status: 503 })))
  )
  expectTypeOf<Effect.Error<typeof route>>().toEqualTypeOf<never>()
  expectTypeOf<Effect.Services<typeof route>>().toEqualTypeOf<TaskManager | HttpServerRequest.HttpServerRequest>()
})

test("a service holds its manager, and hides it", () => {
  class Mailer extends Context.Service<Mailer, {
    readonly send: (user: User) => Effect.Effect<TaskHandle<string, SmtpError | NoSuchMailbox>, TaskManagerStoppedError>
  }>()("app/Mailer") {
    static readonly layer = Layer.effect(
      Mailer,
      Effect.gen(function*() {
        const { submit } = yield* Mail
        const smtp = yield* Smtp
        return Mailer.of({ send: (user) => submit(smtp.send(user.email, "hello"), { group: user.email }) })
      })
    ).pipe(Layer.provide(Mail.layer({ workers: 8, rate: { limit: 100, window: "1 minute" } })))
  }
  expectTypeOf(Mailer.layer).toEqualTypeOf<Layer.Layer<Mailer, never, Smtp>>()
})

test("a nightly job lives as long as its layer", () => {
  const nightly = Layer.effectDiscard(
    TaskManager.schedule(
      Effect.gen(function*() {
        const users = yield* Users
        const { attempts } = yield* CurrentTask
        yield* Stream.runForEach(users.all, (user) => Effect.annotateLogs(Effect.log(user.id), { attempts }))
      }),
      Schedule.cron("0 4 * * *", "Europe/Berlin"),
      { name: "nightly", timeToLive: "1 hour", retry: { times: 2 } }
    )
  )
  expectTypeOf(nightly).toEqualTypeOf<Layer.Layer<never, never, TaskManager | Users>>()
})

test("many results, few workers", () => {
  const program = Effect.forEach(
    ["a", "b"],
    (url) => TaskManager.run(post(url, {}), { name: "ping", retry: Schedule.recurs(2) }),
    { concurrency: "unbounded" }
  )
  expectTypeOf(program).toEqualTypeOf<
    Effect.Effect<Array<void>, HttpError | TaskAbortedError | TaskManagerStoppedError, TaskManager>
  >()
})

test("submit now, collect later", () => {
  const program = Effect.gen(function*() {
    const handles = yield* Effect.forEach([1, 2, 3], (n) => TaskManager.submit(Effect.succeed(n)))
    const outcomes = yield* Effect.forEach(handles, (handle) => handle.await)
    return outcomes.flatMap((outcome) => outcome._tag === "Completed" ? [outcome.value] : [])
  })
  expectTypeOf(program).toEqualTypeOf<Effect.Effect<Array<number>, TaskManagerStoppedError, TaskManager>>()
})

test("an admission timeout", () => {
  const program = TaskManager.submit(post("/", {})).pipe(Effect.timeoutOption("1 second"))
  expectTypeOf(program).toEqualTypeOf<
    Effect.Effect<Option.Option<TaskHandle<void, HttpError>>, TaskManagerStoppedError, TaskManager>
  >()
})

test("a generic wrapper keeps value, error and services", () => {
  const background = <A, E, R>(name: string, task: Effect.Effect<A, E, R>, options?: TaskOptions<E>) =>
    TaskManager.submit(task, { ...options, name, retry: { times: 3 } })
  const handle = background("a", Effect.flatMap(Smtp, ({ send }) => send("a", "b")))
  expectTypeOf(handle).toEqualTypeOf<
    Effect.Effect<TaskHandle<string, SmtpError | NoSuchMailbox>, TaskManagerStoppedError, Smtp | TaskManager>
  >()
  const all = <A, E>(tasks: TaskManagerService, effects: ReadonlyArray<Effect.Effect<A, E, Scope.Scope>>) =>
    Effect.forEach(effects, (effect) => tasks.run(effect))
  expectTypeOf(all({} as TaskManagerService, [Effect.succeed(1)])).toEqualTypeOf<
    Effect.Effect<Array<number>, TaskAbortedError | TaskManagerStoppedError>
  >()
})

test("in a pipe", () => {
  const run = post("/", {}).pipe(TaskManager.run)
  expectTypeOf(run).toEqualTypeOf<
    Effect.Effect<void, HttpError | TaskAbortedError | TaskManagerStoppedError, TaskManager>
  >()
  const handle = Effect.flatMap(TaskManager, (tasks) => post("/", {}).pipe(tasks.trySubmit))
  expectTypeOf(handle).toEqualTypeOf<
    Effect.Effect<TaskHandle<void, HttpError>, QueueFullError | TaskManagerStoppedError, TaskManager>
  >()
})

test("refresh once more when something changed meanwhile", () => {
  const refresh = (id: string) =>
    Webhooks.submit(post(id, {}), { name: "refresh", key: id, keyUntil: "start", delay: "5 seconds", priority: -10 })
  expectTypeOf(refresh).toEqualTypeOf<
    (id: string) => Effect.Effect<TaskHandle<void, HttpError>, TaskManagerStoppedError, Webhooks>
  >()
})

test("a test lists what was submitted, then runs it", () => {
  const program = Effect.gen(function*() {
    const tasks = yield* Mail
    yield* Mail.submit(Effect.void, { name: "welcome-mail" })
    const [task] = yield* tasks.list({ state: "waiting", name: "welcome-mail" })
    expectTypeOf(task).toEqualTypeOf<TaskInfo | undefined>()
    yield* tasks.resume
    yield* tasks.awaitIdle
    const { completed, manager } = yield* tasks.stats
    return { completed, manager }
  }).pipe(Effect.provide(Mail.layerTest()))
  expectTypeOf(program).toEqualTypeOf<
    Effect.Effect<
      { completed: number; manager: "running" | "paused" | "draining" | "stopped" },
      TaskManagerStoppedError
    >
  >()
})

test("failed tasks are listed and run again", () => {
  const program = Effect.gen(function*() {
    const tasks = yield* TaskManager
    const failed = yield* tasks.list({ state: "failed", limit: 20 })
    const again = yield* Effect.forEach(failed, ({ id }) => tasks.retry(id))
    return again.filter(Option.isSome).map(({ value }) => value)
  })
  expectTypeOf(program).toEqualTypeOf<Effect.Effect<Array<string>, never, TaskManager>>()
})

test("events become lines of a log", () => {
  const lines = Stream.unwrap(TaskManager.use(({ events }) => Effect.succeed(events))).pipe(
    Stream.filter((event) => event._tag === "Failed" || event._tag === "Aborted"),
    Stream.map(({ seq, task }: TaskEvent) => `${seq} ${task.name} ${task.reason ?? task.attempts}`)
  )
  expectTypeOf(lines).toEqualTypeOf<Stream.Stream<string, never, TaskManager>>()
})

test("shut down by hand, and look at the report", () => {
  const program = Effect.gen(function*() {
    const tasks = yield* TaskManager
    const report = yield* tasks.shutdown({ gracePeriod: "5 seconds" })
    expectTypeOf(report).toEqualTypeOf<ShutdownReport>()
    yield* Option.match(report.cause, { onNone: () => Effect.void, onSome: (cause) => Effect.logError(cause) })
    return report.unfinished.map(({ attempts, id, name, reason }) => ({ attempts, id, name, reason }))
  })
  expectTypeOf<Effect.Error<typeof program>>().toEqualTypeOf<never>()
})

test("a supervisor waits for whichever task ends first", () => {
  const program = Effect.gen(function*() {
    const a = yield* TaskManager.submit(Effect.succeed("a"))
    const b = yield* TaskManager.submit(Effect.fail(new HttpError({ status: 500 })))
    const fiber = yield* Effect.forkChild(Effect.raceFirst(a.await, b.await))
    return yield* Fiber.join(fiber)
  })
  expectTypeOf<Effect.Success<typeof program>>().toEqualTypeOf<
    TaskOutcome<string, never> | TaskOutcome<never, HttpError>
  >()
})

test("a runtime with two managers, and a stand-in for one", () => {
  const runtime = ManagedRuntime.make(Layer.merge(Mail.layer(), TaskManager.layer({ capacity: 0 })))
  expectTypeOf(runtime.runPromise(Mail.run(Effect.succeed(1)))).toEqualTypeOf<Promise<number>>()
  const standIn = Layer.mock(Mail, { submit: () => Effect.die("not in this test"), pause: Effect.void })
  expectTypeOf(standIn).toEqualTypeOf<Layer.Layer<Mail>>()
})
