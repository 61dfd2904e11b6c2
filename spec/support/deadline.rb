# frozen_string_literal: true

# A point in time by which something must have happened. Specs wait for events and give up at a deadline; they never
# sleep for "long enough" and never assert how long a thing took.
class Deadline
  # Raised when the awaited thing did not happen. Its message says what was awaited.
  Missed = Class.new(StandardError)

  # Seconds granted to anything that should happen "at once". Generous, since a miss fails the example anyway.
  PATIENCE = Float(ENV.fetch("SPEC_PATIENCE", 15))

  def self.in(seconds = PATIENCE) = new(seconds)

  def initialize(seconds)
    @at = now + seconds
  end

  # Seconds left, never negative.
  def remaining = [@at - now, 0].max

  def passed? = remaining.zero?

  def check!(awaited)
    raise Missed, "gave up waiting for #{awaited}" if passed?
  end

  private

  def now = Process.clock_gettime(Process::CLOCK_MONOTONIC)
end
