# frozen_string_literal: true

# The figures are in bench/instructions.json.
desc "Count the instructions, cache misses and mallocs of the hot paths and compare them with those recorded"
task :instructions do
  require_relative "instructions"
  unless Instructions.countable?
    warn "There is no valgrind"
    exit 77
  end
  comparison = Instructions.compare
  puts comparison.table, comparison.verdict
  exit 1 if comparison.failed?
end

namespace :instructions do
  desc "Record the costs of the hot paths, for later comparisons"
  task :record do
    require_relative "instructions"
    puts Instructions.record
  end
end
