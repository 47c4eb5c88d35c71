import { CurrentTask, TaskManager } from "@effect-tasks/core"
import { assert, describe, it } from "@effect/vitest"
import { Clock, Context, Deferred, Effect, Exit, Layer, Logger, References, Schedule, Scope, TxRef } from "effect"
import { Reactivity } from "effect/reactivity"
import { SqlClient, type SqlConnection, Statement } from "effect/sql"
import { AsyncLocalStorage } from "node:async_hooks"

class Tenant extends Context.Service<Tenant, string>()("test/Tenant") {}
const Limit = Context.Reference<number>("test/Limit", { defaultValue: () => 1 })

const one = TaskManager.layer({ workers: 1 })

/** A logger that keeps message and annotations, and the layer with it. */
const recordLogs = () => {
  const entries: Array<{ readonly message: unknown; readonly annotations: Readonly<Record<string, unknown>> }> = []
  const logger = Logger.make<unknown, void>(({ fiber, message }) =>
    void entries.push({ message, annotations: fiber.getRef(References.CurrentLogAnnotations) })
  )
  return { entries, layer: Logger.layer([logger]) }
}

describe("what a task takes along from its submitter", () => {
  it.effect("each task sees the services of its own submitter, whoever else submits meanwhile", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      yield* tasks.pause
      const submit = (tenant: string) => Effect.provideService(tasks.submit(Tenant), Tenant, tenant)
      const handles = yield* Effect.forEach(["a", "b", "a", "c"], submit)
      yield* tasks.resume
      assert.deepStrictEqual(yield* Effect.forEach(handles, ({ join }) => join), ["a", "b", "a", "c"])
    }).pipe(Effect.provide(one)))

  it.effect("every attempt sees the submitter's services, and so does onFailed", () =>
    Effect.gen(function*() {
      const seen: Array<string> = []
      const see = Tenant.useSync((tenant) => void seen.push(tenant))
      const task = Effect.andThen(see, Effect.fail("x"))
      const submit = TaskManager.submit(task, { retry: Schedule.recurs(1), onFailed: () => see })
      const handle = yield* Effect.provideService(submit, Tenant, "a")
      yield* handle.await
      assert.deepStrictEqual(seen, ["a", "a", "a"])
    }).pipe(Effect.provide(one)))

  it.effect("a task sees the references of its submitter, not those of the manager's layer", () =>
    Effect.gen(function*() {
      const run = TaskManager.run(Effect.all([Limit, Effect.context<never>()]))
      const [limit] = yield* Effect.provideService(run, Limit, 7)
      assert.strictEqual(limit, 7)
      assert.strictEqual((yield* run)[0], 1)
    }).pipe(Effect.provide(Layer.provide(one, Layer.succeed(Limit, 3)))))

  it.effect("a task's log lines carry the submitter's annotations, and go to its loggers at its log level", () =>
    Effect.gen(function*() {
      const logs = recordLogs()
      const task = Effect.andThen(Effect.logDebug("quiet"), Effect.logInfo("loud"))
      const submit = (level: "Debug" | "Info") =>
        TaskManager.run(task).pipe(
          Effect.annotateLogs("request", level),
          Effect.provideService(References.MinimumLogLevel, level),
          Effect.provide(logs.layer)
        )
      yield* submit("Info")
      assert.deepStrictEqual(logs.entries.splice(0), [{ message: ["loud"], annotations: { request: "Info" } }])
      yield* submit("Debug")
      assert.deepStrictEqual(
        logs.entries.slice(0, 2),
        [
          { message: ["quiet"], annotations: { request: "Debug" } },
          { message: ["loud"], annotations: { request: "Debug" } }
        ]
      )
    }).pipe(Effect.provide(one)))

  it.effect("a failure is logged with the submitter's annotations and the task's", () =>
    Effect.gen(function*() {
      const logs = recordLogs()
      const handle = yield* TaskManager.submit(Effect.fail("x"), { name: "mail" }).pipe(
        Effect.annotateLogs("request", "r1"),
        Effect.provide(logs.layer)
      )
      yield* handle.await
      assert.deepStrictEqual(logs.entries.map(({ annotations }) => annotations), [
        { request: "r1", manager: "@effect-tasks/core/TaskManager", task: "mail", taskId: "1", attempts: 1 }
      ])
    }).pipe(Effect.provide(one)))

  it.effect("a task sees the submitter's clock", () =>
    Effect.gen(function*() {
      const clock = yield* Clock.Clock
      const late: Clock.Clock = { ...clock, currentTimeMillis: Effect.succeed(42) }
      const time = TaskManager.run(Effect.flatMap(Clock.Clock, (clock) => clock.currentTimeMillis))
      assert.strictEqual(yield* Effect.provideService(time, Clock.Clock, late), 42)
      assert.strictEqual(yield* time, 0)
    }).pipe(Effect.provide(one)))

  it.effect("a task that submits passes on what it was given", () =>
    Effect.gen(function*() {
      const child = Effect.all([Tenant, CurrentTask.useSync(({ name }) => name)])
      const parent = TaskManager.run(child, { name: "child" })
      const run = TaskManager.run(parent, { name: "parent" })
      assert.deepStrictEqual(yield* Effect.provideService(run, Tenant, "a"), ["a", "child"])
    }).pipe(Effect.provide(one)))
})

describe("what stays behind", () => {
  it.effect("an attempt has a Scope of its own, closed with the attempt's exit before the next attempt", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      const task = Effect.gen(function*() {
        const { attempts } = yield* CurrentTask
        log.push(`start ${attempts}`)
        yield* Effect.addFinalizer((exit) => Effect.sync(() => void log.push(`close ${attempts} ${exit._tag}`)))
        if (attempts < 2) return yield* Effect.fail("x")
      })
      yield* TaskManager.run(task, { retry: Schedule.recurs(1) })
      assert.deepStrictEqual(log, ["start 1", "close 1 Failure", "start 2", "close 2 Success"])
    }).pipe(Effect.provide(one)))

  it.effect("the submitter's scope may close before the task runs, without touching it", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const opened = yield* Deferred.make<void>()
      const closed = yield* Deferred.make<Exit.Exit<unknown, unknown>>()
      const task = Effect.gen(function*() {
        yield* Effect.addFinalizer((exit) => Deferred.succeed(closed, exit))
        const fiber = yield* Effect.forkScoped(Effect.never)
        yield* Deferred.await(opened)
        return fiber.pollUnsafe()
      })
      yield* tasks.pause
      const scope = yield* Scope.make()
      const handle = yield* Scope.provide(tasks.submit(task), scope)
      yield* Scope.close(scope, Exit.void)
      yield* tasks.resume
      yield* Effect.yieldNow
      assert.isFalse(Deferred.isDoneUnsafe(closed))
      yield* Deferred.succeed(opened, undefined)
      assert.isUndefined(yield* handle.join)
      assert.isTrue(Exit.isSuccess(yield* Deferred.await(closed)))
    }).pipe(Effect.provide(one)))

  it.effect("onFailed has a scope of its own", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      const note = (line: string) => Effect.sync(() => void log.push(line))
      const handle = yield* TaskManager.submit(Effect.fail("x"), {
        onFailed: () => Effect.andThen(Effect.addFinalizer(() => note("closed")), note("hook"))
      })
      yield* handle.await
      assert.deepStrictEqual(log, ["hook", "closed"])
    }).pipe(Effect.provide(one)))

  it.effect("a task sees itself as CurrentTask, not the task that submitted it", () =>
    Effect.gen(function*() {
      const id = CurrentTask.useSync((task) => task.id)
      const parent = Effect.all([id, TaskManager.run(id), id])
      assert.deepStrictEqual(yield* TaskManager.run(parent), ["1", "2", "1"])
    }).pipe(Effect.provide(one)))

  it.effect("a task starts with no metadata of the submitter's schedule", () =>
    Effect.gen(function*() {
      const seen: Array<number> = []
      const task = Effect.map(Schedule.CurrentMetadata, ({ attempt }) => void seen.push(attempt))
      yield* Effect.repeat(TaskManager.run(task), { times: 2 })
      assert.deepStrictEqual(seen, [0, 0, 0])
    }).pipe(Effect.provide(one)))

  it.effect("a task starts with no log span and no stack frame of the submitter", () =>
    Effect.gen(function*() {
      const look = Effect.all([References.CurrentLogSpans, References.CurrentStackFrame])
      const submit = Effect.fn("submit")(() => TaskManager.run(look))
      assert.deepStrictEqual(yield* Effect.withLogSpan(submit(), "request"), [[], undefined])
    }).pipe(Effect.provide(one)))

  it.effect("a task submitted inside Effect.tx does not join that transaction", () =>
    Effect.gen(function*() {
      const ref = yield* TxRef.make(0)
      const seen = yield* Effect.tx(Effect.gen(function*() {
        yield* TxRef.set(ref, 1)
        return yield* TaskManager.run(TxRef.get(ref))
      }))
      assert.strictEqual(seen, 0)
      assert.strictEqual(yield* TxRef.get(ref), 1)
    }).pipe(Effect.provide(one)))
})

describe("AsyncLocalStorage", () => {
  const storage = new AsyncLocalStorage<string>()
  const submitIn = (tasks: TaskManager["Service"], store: string, log: Array<string | undefined>) =>
    Effect.promise(() =>
      storage.run(store, () =>
        Effect.runPromise(tasks.submit(Effect.gen(function*() {
          log.push(storage.getStore())
          yield* Effect.promise(() => new Promise<void>((resolve) => setImmediate(resolve)))
          log.push(storage.getStore())
        }))))
    )

  it.live("a task never sees the store of another submitter", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const seen = { a: [] as Array<string | undefined>, b: [] as Array<string | undefined> }
      for (let round = 0; round < 3; round++) {
        yield* submitIn(tasks, "a", seen.a)
        yield* submitIn(tasks, "b", seen.b)
      }
      yield* tasks.awaitIdle
      assert.strictEqual(seen.a.length + seen.b.length, 12)
      assert.notInclude(seen.a, "b")
      assert.notInclude(seen.b, "a")
    }).pipe(Effect.provide(one)))

  it.live("nor does a retry, a delayed start, a schedule or a task that a lent worker runs", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const seen: Array<string | undefined> = []
      const look = Effect.sync(() => void seen.push(storage.getStore()))
      const inStore = <A, E>(store: string, effect: Effect.Effect<A, E>) =>
        Effect.promise(() => storage.run(store, () => Effect.runPromise(Effect.provide(effect, Logger.layer([])))))
      const failing = Effect.andThen(look, Effect.fail("x"))
      yield* inStore("a", tasks.submit(failing, { retry: Schedule.upTo(Schedule.spaced(1), { times: 2 }) }))
      yield* inStore("a", tasks.submit(look, { delay: 1 }))
      yield* inStore("a", tasks.submit(Effect.asVoid(tasks.run(look))))
      const noise = Effect.promise(() => new Promise<void>((resolve) => setTimeout(resolve, 1)))
      for (let i = 0; i < 10; i++) yield* inStore("b", tasks.submit(noise, { delay: i % 3 }))
      yield* tasks.awaitIdle
      assert.strictEqual(seen.length, 5)
      assert.notInclude(seen, "b")
    }).pipe(Effect.provide(one)))
})

describe("an open SQL transaction", () => {
  const statement = (connection: string, log: Array<string>): SqlConnection.Connection => {
    const execute = (sql: string) => Effect.sync(() => (log.push(`${connection}: ${sql}`), [{ connection }]))
    return {
      execute,
      executeRaw: execute,
      executeStream: () => assert.fail("not used"),
      executeValues: () => Effect.succeed([]),
      executeValuesUnprepared: () => Effect.succeed([]),
      executeUnprepared: execute
    }
  }

  /** A client that opens a new numbered connection whenever it is asked for one. */
  const makeClient = (options?: Pick<SqlClient.SqlClient.MakeOptions, "transactionService">) => {
    const log: Array<string> = []
    let connections = 0
    const client = SqlClient.make({
      acquirer: Effect.acquireRelease(
        Effect.sync(() => statement(`c${++connections}`, log)),
        () => Effect.sync(() => void log.push("released"))
      ),
      compiler: Statement.makeCompilerSqlite(),
      driver: "test",
      spanAttributes: [],
      ...options
    })
    return Effect.map(Effect.provide(client, Reactivity.layer), (sql) => ({ sql, log }))
  }

  const check = (options?: Pick<SqlClient.SqlClient.MakeOptions, "transactionService">) =>
    Effect.gen(function*() {
      const { log, sql } = yield* makeClient(options)
      const tasks = yield* TaskManager
      const [inside, handle] = yield* sql.withTransaction(Effect.gen(function*() {
        yield* tasks.pause
        const handle = yield* tasks.submit(sql<{ connection: string }>`SELECT 2`)
        return [yield* sql<{ connection: string }>`SELECT 1`, handle] as const
      }))
      assert.deepStrictEqual(log.splice(0), ["c1: BEGIN", "c1: SELECT 1", "c1: COMMIT", "released"])
      yield* tasks.resume
      assert.deepStrictEqual(inside, [{ connection: "c1" }])
      assert.deepStrictEqual(yield* handle.join, [{ connection: "c2" }])
      assert.deepStrictEqual(log, ["c2: SELECT 2", "released"])
    }).pipe(Effect.provide(one))

  it.effect("is not inherited by a task submitted inside it", () => check())

  it.effect("is not inherited when the client has a transaction service of its own", () =>
    check({ transactionService: Context.Service("test/Transaction") }))

  it.effect("is not inherited from two clients at once", () =>
    Effect.gen(function*() {
      const a = yield* makeClient()
      const b = yield* makeClient()
      const both = Effect.all([a.sql`SELECT 1`, b.sql`SELECT 1`])
      const inside = b.sql.withTransaction(TaskManager.run(both))
      assert.deepStrictEqual(yield* a.sql.withTransaction(inside), [[{ connection: "c2" }], [{ connection: "c2" }]])
    }).pipe(Effect.provide(one)))

  it.effect("is not inherited by a task that the waiting submitter runs inside it", () =>
    Effect.gen(function*() {
      const { log, sql } = yield* makeClient()
      const run = TaskManager.run(sql.withTransaction(sql`SELECT 1`))
      yield* sql.withTransaction(run)
      assert.deepStrictEqual(
        log,
        ["c1: BEGIN", "c2: BEGIN", "c2: SELECT 1", "c2: COMMIT", "released", "c1: COMMIT", "released"]
      )
    }).pipe(Effect.provide(one)))

  it.effect("a task's afterCommit does not wait for the submitter's transaction", () =>
    Effect.gen(function*() {
      const { log, sql } = yield* makeClient()
      const after = sql.afterCommit(Effect.sync(() => void log.push("after")))
      yield* sql.withTransaction(TaskManager.run(after))
      assert.deepStrictEqual(log, ["c1: BEGIN", "after", "c1: COMMIT", "released"])
    }).pipe(Effect.provide(one)))
})
