# frozen_string_literal: true

require_relative "deadline"

# The events that an app has reported, in order. Each is a Hash with symbol keys. `take` waits for an event and removes it; `all`
# returns all events, taken or not. Thread-safe.
class EventLog
  def initialize
    @all = []
    @untaken = []
    @mutex = Mutex.new
    @added = ConditionVariable.new
    @ended = false
  end

  def add(event)
    @mutex.synchronize do
      @all << event
      @untaken << event
      @added.broadcast
    end
  end

  # No event will come any more. Ends all waits.
  def finish
    @mutex.synchronize do
      @ended = true
      @added.broadcast
    end
  end

  # Waits for the first untaken event with these fields; values are compared with ===.
  def take(seconds: Deadline::PATIENCE, **fields)
    deadline = Deadline.in(seconds)
    @mutex.synchronize do
      loop do
        at = @untaken.index { |event| match?(event, fields) }
        return @untaken.delete_at(at) if at
        raise Deadline::Missed, "the app ended without reporting #{fields}" if @ended
        raise Deadline::Missed, "the app did not report #{fields}; untaken: #{@untaken.last(20)}" if deadline.passed?

        @added.wait(@mutex, deadline.remaining)
      end
    end
  end

  def all(**fields) = @mutex.synchronize { @all.select { |event| match?(event, fields) } }

  private

  def match?(event, fields) = fields.all? { |name, value| event.key?(name) && value === event[name] } # rubocop:disable Style/CaseEquality
end
