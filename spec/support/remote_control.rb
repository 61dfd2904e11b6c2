# frozen_string_literal: true

require "json"
require_relative "deadline"

# Runs code in an app with SpecApp: the code goes to the app's stdin, the reply comes from its stdout. It does not use the server, so
# it works while all threads are busy.
class RemoteControl
  # Raised when the code has raised an exception in the app. type: the name of its class.
  class Raised < StandardError
    attr_reader :type

    def initialize(type, message)
      @type = type
      super("#{type}: #{message}")
    end
  end

  def initialize(input)
    @input = input
    @replies = {}
    @mutex = Mutex.new
    @replied = ConditionVariable.new
    @last = 0
  end

  def ask(code, id: nil, seconds: Deadline::PATIENCE)
    reply = wait_for(send_order(code, id), Deadline.in(seconds), code)
    raise Raised.new(reply[:raised], reply[:message]) if reply[:raised]

    reply[:value]
  end

  def reply(reply)
    @mutex.synchronize do
      @replies[reply[:order]] = reply
      @replied.broadcast
    end
  end

  def finish
    @mutex.synchronize do
      @finished = true
      @replied.broadcast
    end
  end

  private

  def send_order(code, id)
    @mutex.synchronize do
      @input.puts(JSON.generate(order: @last += 1, code: code, client: id))
      @input.flush
      @last
    end
  end

  def wait_for(order, deadline, code)
    @mutex.synchronize do
      loop do
        return @replies.delete(order) if @replies.key?(order)
        raise Deadline::Missed, "the app ended before it answered #{code.inspect}" if @finished

        deadline.check!("the app's answer to #{code.inspect}")
        @replied.wait(@mutex, deadline.remaining)
      end
    end
  end
end
