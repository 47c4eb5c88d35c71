import { defineConfig } from "vitest/config"

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    exclude: ["test/generated-examples/**"],
    typecheck: {
      include: ["test/types/**/*.test-d.ts"],
      tsconfig: "tsconfig.test.json"
    },
    coverage: {
      provider: "v8",
      include: ["packages/*/src/**/*.ts"],
      reporter: ["text", "json-summary"],
      thresholds: {
        "packages/core/src/**": { lines: 95, branches: 95 }
      }
    }
  }
})
