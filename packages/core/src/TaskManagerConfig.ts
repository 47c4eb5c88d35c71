/**
 * A manager's layer with options from `Config`: environment variables, files, whatever the `ConfigProvider` reads.
 *
 * A module of its own, so that a program without Config does not carry it (16 kB).
 *
 * @since 0.1.0
 */
import * as Config from "effect/Config"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { InvalidOption, resolveConfig } from "./internal/config.ts"
import type { ManagerClass } from "./TaskManager.ts"
import type { TaskManagerOptions } from "./TaskManagerOptions.ts"

/**
 * The manager's layer, with its options read from configuration. A value out of range is a `ConfigError`, not a defect.
 *
 * ```ts
 * import { TaskManager } from "@effect-tasks/core"
 * import * as TaskManagerConfig from "@effect-tasks/core/TaskManagerConfig"
 * import { Config, ConfigProvider, Effect, Layer } from "effect"
 *
 * const layer = TaskManagerConfig.layer(TaskManager, {
 *   workers: Config.Int("TASK_WORKERS").pipe(Config.withDefault(4)),
 *   gracePeriod: Config.Duration("TASK_GRACE_PERIOD").pipe(Config.withDefault("20 seconds"))
 * })
 *
 * const env = ConfigProvider.layer(ConfigProvider.fromEnv({ env: { TASK_WORKERS: "8" } }))
 * const program = TaskManager.use((tasks) => tasks.stats).pipe(Effect.provide(Layer.provide(layer, env)))
 * console.log((await Effect.runPromise(program)).workers) // 8
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = <Self, Id extends string>(
  manager: ManagerClass<Self, Id>,
  options: Config.Wrap<TaskManagerOptions>
): Layer.Layer<Self, Config.ConfigError> =>
  Layer.unwrap(Effect.gen(function*() {
    const config = yield* Config.unwrap<TaskManagerOptions>(options)
    const invalid = check(config)
    if (invalid !== undefined) return yield* Effect.fail(invalid)
    return manager.layer(config)
  }))

const check = (options: TaskManagerOptions): Config.ConfigError | undefined => {
  try {
    resolveConfig(options)
    return undefined
  } catch (error) {
    if (!(error instanceof InvalidOption)) throw error
    return new Config.ConfigError(new ConfigProvider.SourceError({ message: error.message }))
  }
}
