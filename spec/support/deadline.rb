# frozen_string_literal: true

# A point in time by which something must have happened. Specs wait for events with a deadline. They never sleep for "long enough",
# and never assert durations.
class Deadline
  # Raised when the event did not happen. The message names the event.
  Missed = Class.new(StandardError)

  # Seconds for anything that should happen at once. Long, because a missed deadline fails the example anyway.
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
