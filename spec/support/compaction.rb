# frozen_string_literal: true

# Ruby code for an app under test: ways to move every object that may move. Native code must pin the objects that it refers to,
# or it refers to something else afterwards.
module Compaction
  # Objects move to empty pages, so that none stays in its place by chance. Ruby 3.2 has renamed the option that makes room for
  # them.
  VERIFY = <<~RUBY
    GC.verify_compaction_references(toward: :empty, **(RUBY_VERSION < "3.2" ? { double_heap: true } : { expand_heap: true }))
    nil
  RUBY

  # What a forking server calls once the app is loaded; it compacts.
  WARMUP = "Process.warmup; nil"

  # Compacts with each full collection from now on.
  BY_ITSELF = "GC.auto_compact = true; GC.start; nil"

  def self.missing
    "This Ruby cannot compact" unless GC.respond_to?(:verify_compaction_references)
  end

  WAYS = { "GC.verify_compaction_references" => VERIFY, "GC.auto_compact" => BY_ITSELF, "Process.warmup" => WARMUP }
         .reject { |_, code| code == WARMUP && !Process.respond_to?(:warmup) }.freeze
end
