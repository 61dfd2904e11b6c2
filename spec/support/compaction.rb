# frozen_string_literal: true

# Ruby code for apps under test: ways to move all objects that can move. Native code must pin the objects that it refers to,
# or it refers to another object afterwards.
module Compaction
  # Objects move to empty pages, so that none stays in its place by chance. Ruby 3.2 has renamed the option that makes these pages.
  VERIFY = <<~RUBY
    GC.verify_compaction_references(toward: :empty, **(RUBY_VERSION < "3.2" ? { double_heap: true } : { expand_heap: true }))
    nil
  RUBY

  # Forking servers call this after loading the app. It compacts.
  WARMUP = "Process.warmup; nil"

  # From now on, each full collection compacts.
  BY_ITSELF = "GC.auto_compact = true; GC.start; nil"

  def self.missing
    "This Ruby cannot compact" unless GC.respond_to?(:verify_compaction_references)
  end

  WAYS = { "GC.verify_compaction_references" => VERIFY, "GC.auto_compact" => BY_ITSELF, "Process.warmup" => WARMUP }
         .reject { |_, code| code == WARMUP && !Process.respond_to?(:warmup) }.freeze
end
