# frozen_string_literal: true

require_relative "../raw_connection"

module Faults
  # A client that gets into a state of its connection, does something wrong there, and then waits for its answer. It must get the
  # answer or the end of the connection; otherwise it would wait for ever.
  class Visitor
    # The states in which the client gets something when the gate is opened.
    STATES = Faults::STATES.select(&:whole).freeze

    # What clients do while the server has its faults: most of them wait.
    FAULTS = [*["waits"] * 3, *CLIENT_FAULTS.keys].freeze

    attr_reader :state

    # @param fault [String] a key of CLIENT_FAULTS
    # @param patience [Numeric] seconds to wait for each answer
    def initialize(address, state, fault, patience)
      @address, @state, @fault, @patience = address, state, fault, patience
    end

    def to_s = "a client #{state.name} that #{@fault}"

    # Connects, sends `enter`, and waits for `entered`, unless that may have to wait for a thread.
    def enter
      @connection = RawConnection.new(@address, receive_buffer: 16 * 1024)
      @connection.offer(state.enter)
      @answer = await(state.entered) if state.entered_soon?
    rescue RawConnection::Ended
      # The server has refused the request, because it could not make threads and has not tried again yet.
      @connection.close
    end

    # Sends `inside`.
    def go_inside
      @connection.offer(state.inside.call(@answer)) if state.inside && !@connection.closed?
    end

    def commit_fault
      CLIENT_FAULTS.fetch(@fault).call(@connection) unless @connection.closed?
    rescue Errno::ENOTCONN
      nil # The server has ended the connection already.
    end

    # Sends `go_on`, and waits for the answer or the end. Returns what went wrong, or nil.
    def conclude
      return if @connection.closed?

      @connection.offer(state.go_on) if state.go_on && @fault != "has closed its side"
      await(state.whole)
      nil
    rescue RawConnection::Ended
      nil
    rescue Deadline::Missed => e
      "#{self}: #{e.message}"
    ensure
      @connection.close unless @connection.closed?
    end

    private

    def await(pattern)
      deadline = Deadline.in(@patience)
      text = "".b
      text << @connection.read_available(seconds: deadline.remaining) until pattern.match?(text)
      text
    end
  end
end
