import { builtinModules } from "node:module"
import { basename, join } from "node:path"
import { rolldown } from "rolldown"

export const root = join(import.meta.dirname, "..")
export const coreSource = join(root, "packages/core/src")

const builtins = new Set(builtinModules)
const isBuiltin = (id: string): boolean => id.startsWith("node:") || builtins.has(id)
const isOwn = (id: string): boolean => /^(effect|@effect-tasks\/core)(\/|$)/.test(id) || id.startsWith(".")

export interface Bundle {
  readonly code: string
  /** Imports that a browser cannot serve, as `id (from file)`; in core's own files everything but `effect`. */
  readonly foreign: ReadonlyArray<string>
}

/** Bundles a program, given as text, for the browser and minifies it; `external` keeps `effect` out of the result. */
export const bundle = async (program: string, options: { readonly external: boolean }): Promise<Bundle> => {
  const entry = join(root, "bundle-entry.js")
  const foreign = new Set<string>()
  const build = await rolldown({
    input: entry,
    platform: "browser",
    plugins: [{
      name: "entry-and-imports",
      load: (id) => id === entry ? program : null,
      resolveId(id, importer) {
        if (id === entry) return entry
        const fromCore = importer?.startsWith(coreSource) === true
        if (isBuiltin(id) || (fromCore && !isOwn(id))) {
          foreign.add(`${id} (from ${importer === undefined ? "entry" : basename(importer)})`)
          return { id, external: true }
        }
        return options.external && /^effect(\/|$)/.test(id) ? { id, external: true } : null
      }
    }],
    // A warning is an import that does not exist or the like: the result would be wrong.
    onLog(level, log) {
      if (level === "warn") throw new Error(log.message)
    }
  })
  const { output } = await build.generate({ format: "esm", minify: true, codeSplitting: false })
  await build.close()
  return { code: output[0].code, foreign: [...foreign] }
}
