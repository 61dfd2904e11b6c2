# frozen_string_literal: true

# Ruby code for an app under test: ways to move every object that may move. What native code keeps of Ruby's must be
# pinned, or it refers to something else afterwards.
module Compaction
  # Objects go to pages without any other object, so that none stays where it was by chance. The option that makes room
  # for them was renamed in Ruby 3.2.
  VERIFY = <<~RUBY
    GC.verify_compaction_references(toward: :empty, **(RUBY_VERSION < "3.2" ? { double_heap: true } : { expand_heap: true }))
    nil
  RUBY

  # What a forking server calls once the app is loaded; it compacts.
  WARMUP = "Process.warmup; nil"

  # From here on, with each full collection.
  BY_ITSELF = "GC.auto_compact = true; GC.start; nil"

  def self.missing
    "This Ruby cannot compact" unless GC.respond_to?(:verify_compaction_references)
  end

  WAYS = { "GC.verify_compaction_references" => VERIFY, "GC.auto_compact" => BY_ITSELF, "Process.warmup" => WARMUP }
         .reject { |_, code| code == WARMUP && !Process.respond_to?(:warmup) }.freeze
end
