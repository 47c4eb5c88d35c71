/* oxlint-disable vitest/expect-expect */
// @effect-diagnostics floatingEffect:off missingEffectError:off missingEffectContext:off
import { CurrentTask, TaskManager } from "@effect-tasks/core"
import type {
  QueueFullError,
  TaskAbortedError,
  TaskFailedError,
  TaskHandle,
  TaskInfo,
  TaskManagerService,
  TaskManagerStoppedError,
  TaskOutcome
} from "@effect-tasks/core"
import { type Cause, Context, Data, Effect, Schedule, type Scope } from "effect"
import { expectTypeOf, test } from "vitest"

class Db extends Context.Service<Db, { readonly q: Effect.Effect<number> }>()("app/Db") {}
class Log extends Context.Service<Log, { readonly line: (text: string) => Effect.Effect<void> }>()("app/Log") {}
class Mail extends TaskManager.Named<Mail>()("app/Mail") {}

class NoSuchMailbox extends Data.TaggedError("NoSuchMailbox")<{ readonly address: string }> {}
class SmtpError extends Data.TaggedError("SmtpError")<{ readonly code: number }> {}

declare const tasks: TaskManagerService
declare const send: Effect.Effect<{ readonly receipt: string }, NoSuchMailbox | SmtpError, Db>

test("run keeps the task's own error and hides what the manager provides", () => {
  const task = Effect.fail("boom" as const) as Effect.Effect<number, "boom", CurrentTask>
  const run = TaskManager.run(task, { retry: { while: (error) => error === "boom" } })
  expectTypeOf(run).toEqualTypeOf<
    Effect.Effect<number, "boom" | TaskAbortedError | TaskManagerStoppedError, TaskManager>
  >()
})

test("submit gives a handle typed over the task's value and error, and needs what the task needs", () => {
  expectTypeOf(tasks.submit(send)).toEqualTypeOf<
    Effect.Effect<TaskHandle<{ readonly receipt: string }, NoSuchMailbox | SmtpError>, TaskManagerStoppedError, Db>
  >()
  expectTypeOf(TaskManager.submit(send)).toEqualTypeOf<
    Effect.Effect<
      TaskHandle<{ readonly receipt: string }, NoSuchMailbox | SmtpError>,
      TaskManagerStoppedError,
      Db | TaskManager
    >
  >()
  expectTypeOf(Mail.submit(Effect.void)).toEqualTypeOf<
    Effect.Effect<TaskHandle<void>, TaskManagerStoppedError, Mail>
  >()
})

test("trySubmit can also find the queue full", () => {
  expectTypeOf(tasks.trySubmit(Effect.succeed(1))).toEqualTypeOf<
    Effect.Effect<TaskHandle<number>, TaskManagerStoppedError | QueueFullError>
  >()
})

test("schedule cannot fail, and needs a scope", () => {
  expectTypeOf(tasks.schedule(send, Schedule.cron("0 4 * * *"))).toEqualTypeOf<
    Effect.Effect<void, never, Db | Scope.Scope>
  >()
  expectTypeOf(Mail.schedule(Effect.void, Schedule.spaced("1 hour"))).toEqualTypeOf<
    Effect.Effect<void, never, Mail | Scope.Scope>
  >()
})

test("a task's Scope and CurrentTask are the manager's to provide", () => {
  const scoped = Effect.andThen(Effect.addFinalizer(() => Effect.void), CurrentTask)
  expectTypeOf(scoped).toEqualTypeOf<Effect.Effect<TaskInfo, never, Scope.Scope | CurrentTask>>()
  expectTypeOf(tasks.run(scoped)).toEqualTypeOf<
    Effect.Effect<TaskInfo, TaskAbortedError | TaskManagerStoppedError>
  >()
})

test("what onFailed needs is asked for, its Scope and CurrentTask are not", () => {
  const submit = tasks.submit(send, {
    onFailed: (cause) => {
      expectTypeOf(cause).toEqualTypeOf<Cause.Cause<NoSuchMailbox | SmtpError>>()
      return Effect.gen(function*() {
        const { name } = yield* CurrentTask
        yield* Effect.addFinalizer(() => Effect.void)
        yield* Log.use(({ line }) => line(name))
      })
    }
  })
  expectTypeOf(submit).toEqualTypeOf<
    Effect.Effect<
      TaskHandle<{ readonly receipt: string }, NoSuchMailbox | SmtpError>,
      TaskManagerStoppedError,
      Db | Log
    >
  >()
})

test("retry is typed over the task's error, in each of its forms", () => {
  tasks.submit(send, {
    retry: {
      times: 5,
      schedule: Schedule.exponential("100 millis"),
      while: (error) => {
        expectTypeOf(error).toEqualTypeOf<NoSuchMailbox | SmtpError>()
        return error._tag !== "NoSuchMailbox"
      },
      until: (error) => Effect.succeed(error._tag === "SmtpError" && error.code >= 500)
    }
  })
  tasks.submit(send, { retry: Schedule.exponential("1 second") })
  tasks.submit(send, {
    retry: Schedule.spaced("1 second").pipe(
      Schedule.setInputType<NoSuchMailbox | SmtpError>(),
      Schedule.while(({ input }) => input._tag === "SmtpError")
    )
  })
  tasks.submit(send, { retry: Schedule.max([Schedule.cron("* * * * *"), Schedule.recurs(3)]) })
  tasks.submit(send, { retry: undefined, name: undefined, key: undefined, delay: undefined })
})

test("options do not widen the task's error", () => {
  const run = tasks.run(Effect.fail("a" as const), { retry: { while: (error: string) => error === "b" } })
  expectTypeOf(run).toEqualTypeOf<Effect.Effect<never, "a" | TaskAbortedError | TaskManagerStoppedError>>()
})

test("a handle tells value and error apart, and join has the task's own error", () => {
  const handle = {} as TaskHandle<number, SmtpError>
  expectTypeOf(handle.join).toEqualTypeOf<Effect.Effect<number, SmtpError | TaskAbortedError>>()
  expectTypeOf(handle.await).toEqualTypeOf<Effect.Effect<TaskOutcome<number, SmtpError>>>()
  expectTypeOf(handle.cancel).toEqualTypeOf<Effect.Effect<boolean>>()
  const outcome = {} as TaskOutcome<number, SmtpError>
  if (outcome._tag === "Completed") expectTypeOf(outcome.value).toEqualTypeOf<number>()
  if (outcome._tag === "Failed") {
    expectTypeOf(outcome.error).toEqualTypeOf<TaskFailedError<SmtpError>>()
    expectTypeOf(outcome.error.cause).toEqualTypeOf<Cause.Cause<SmtpError>>()
  }
  if (outcome._tag === "Aborted") {
    expectTypeOf(outcome.error.reason).toEqualTypeOf<"cancelled" | "expired" | "shutdown">()
  }
})

test("a handle is covariant, so that handles of several tasks fit into one array", () => {
  expectTypeOf<TaskHandle<"a", never>>().toExtend<TaskHandle<string, SmtpError>>()
  expectTypeOf<TaskHandle<string>>().not.toExtend<TaskHandle<"a">>()
  expectTypeOf<TaskHandle<string, SmtpError>>().not.toExtend<TaskHandle<string>>()
})

test("errors are matched by tag, and what is left is right", () => {
  const run = tasks.run(send).pipe(
    Effect.catchTag("NoSuchMailbox", ({ address }) => Effect.succeed(address)),
    Effect.catchTag(["TaskManagerStoppedError", "TaskAbortedError"], (error) => Effect.succeed(error._tag))
  )
  expectTypeOf<Effect.Error<typeof run>>().toEqualTypeOf<SmtpError>()
})
