import { TaskManager } from "@effect-tasks/core"
import type { CurrentTask, TaskAbortedError, TaskManagerStoppedError } from "@effect-tasks/core"
import { Effect } from "effect"
import { expectTypeOf, test } from "vitest"

test("run keeps the task's own error and hides what the manager provides", () => {
  const task = Effect.fail("boom" as const) as Effect.Effect<number, "boom", CurrentTask>
  const run = TaskManager.run(task, { retry: { while: (error) => error === "boom" } })
  expectTypeOf(run).toEqualTypeOf<
    Effect.Effect<number, "boom" | TaskAbortedError | TaskManagerStoppedError, TaskManager>
  >()
})
