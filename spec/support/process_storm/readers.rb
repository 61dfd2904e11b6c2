# frozen_string_literal: true

require "io/wait"
require_relative "reader"

class ProcessStorm
  # All clients of a storm, on one thread.
  class Readers
    # Seconds between two looks at what is due.
    TICK = 0.02

    attr_reader :all

    def initialize(readers)
      @all = readers
    end

    def start
      @thread = Thread.new { turn until @ended || @all.all?(&:done?) }
      @thread.report_on_exception = false
      @thread.name = "readers"
    end

    # Waits until each is connected and has its start. Before that, a message would not be theirs.
    def await_first_visit(deadline) = wait(deadline, "the clients' first visit") { @all.all? { |it| it.segments.each_value.none?(&:empty?) } }

    # Some leave for good, and the others stay.
    def retire(some)
      @all.each(&:stay)
      some.each(&:quit)
    end

    # Waits until each of those that stay knows these members: channel => names.
    def await_members(members, deadline)
      wrong = []
      wait(deadline, "clients to know the members") do
        wrong = @all.reject(&:quitting?).flat_map { |reader| reader.channels.filter_map { |channel| wrong_members(reader, channel, members) } }
        wrong.empty?
      end
    rescue Deadline::Missed => e
      raise Deadline::Missed, "#{e.message}\nof members they know otherwise:\n#{wrong.first(20).join("\n")}"
    end

    # Waits until all have got the ends of their channels.
    def await_end(deadline)
      @all.each(&:stay)
      wait(deadline, "the end of all channels") { !@thread.alive? }
      @thread.value
    end

    def stop
      @ended = true
      @thread&.join
    ensure
      @all.each(&:close)
    end

    private

    def wrong_members(reader, channel, members)
      known, there = reader.view.members(channel), members.fetch(channel)
      "#{reader}: in #{channel} #{known ? "#{known - there} too many, #{there - known} missing" : "no list"}" if known != there
    end

    def wait(deadline, what)
      until yield
        @thread.value unless @thread.alive? # raises its error
        if deadline.passed?
          waiting = @all.reject(&:done?)
          raise Deadline::Missed, "gave up waiting for #{what}; #{waiting.size} clients wait:\n#{waiting.first(10).map(&:state).join("\n")}"
        end
        sleep TICK
      end
    end

    def turn
      now = ProcessStorm.now
      @all.each { |reader| reader.act if reader.due && reader.due <= now }
      by_socket = @all.select(&:socket).to_h { |reader| [reader.socket, reader] }.compare_by_identity
      waiting = by_socket.select { |_, reader| reader.wants_to_read? }.keys
      writing = by_socket.select { |_, reader| reader.wants_to_write? }.keys
      readable, writable = IO.select(waiting, writing, nil, TICK)
      writable&.each { |socket| by_socket[socket].write }
      readable&.each { |socket| by_socket[socket].then { |reader| reader.read if reader.socket.equal?(socket) } }
    end
  end
end
