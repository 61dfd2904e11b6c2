# frozen_string_literal: true

require "json"
require "rake/clean"
require_relative "../lib/push_server/version"

CLEAN.include("tmp/npm")

# The package is assembled from the only source; its version is the gem's, as npm writes it.
desc "Assemble the npm package of push.js in tmp/npm (publish it with: npm publish tmp/npm)"
task :npm do
  rm_rf "tmp/npm"
  mkdir_p "tmp/npm"
  cp %w[lib/push_server/push.js lib/push_server/push.d.ts LICENSE], "tmp/npm"
  cp "docs/javascript.md", "tmp/npm/README.md"
  package = {
    name: "push_server", version: PushServer::VERSION.sub(/\A(\d+\.\d+\.\d+)\.(\D)/, '\1-\2'),
    description: "The browser library of push_server: WebSocket, event stream or long poll, which resumes without loss",
    license: "MIT", type: "module", sideEffects: false,
    exports: { "." => { types: "./push.d.ts", default: "./push.js" } }, types: "./push.d.ts",
    files: %w[push.js push.d.ts]
  }
  File.write("tmp/npm/package.json", "#{JSON.pretty_generate(package)}\n")
end
