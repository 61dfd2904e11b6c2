# frozen_string_literal: true

require "json"

# Runs a block in a child of this process. Required by apps under test.
class ForkedChild
  # Runs the block to its end in a child, and returns its value. See `new` and `value`.
  def self.run(**how, &block) = new(**how, &block).value

  # unwind: the child ends by `exit`, which runs at_exit blocks and finalizers, instead of `exit!`.
  def initialize(unwind: false, &block)
    @reader, writer = IO.pipe
    @pid = fork do
      @reader.close
      writer.write(JSON.generate(outcome_of(&block)))
      writer.close
      exit! unless unwind
    end
    writer.close
  end

  # What the block returned, as JSON brings it over; class and message of the exception that it raised; or "blocked" if it did
  # not end within these seconds. Then the child is killed.
  def value(seconds: 10)
    return JSON.parse(@reader.read) if @reader.wait_readable(seconds)

    Process.kill("KILL", @pid)
    "blocked"
  ensure
    @reader.close
    Process.wait(@pid)
  end

  private

  def outcome_of
    yield
  rescue StandardError => e
    [e.class.name, e.message]
  end
end
