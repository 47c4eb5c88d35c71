/**
 * Background tasks for Effect programs, in process.
 *
 * @since 0.1.0
 */
export * from "./TaskError.ts"
export * from "./TaskHandle.ts"
export * from "./TaskInfo.ts"
export * from "./TaskManager.ts"
export * from "./TaskManagerOptions.ts"
export * from "./TaskOptions.ts"
export * from "./Tasks.ts"
export * from "./TaskStats.ts"
