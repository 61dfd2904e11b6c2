# frozen_string_literal: true

require "socket"
require_relative "presence_view"

class ProcessStorm
  # A client with its reconnects, over an event stream, or a WebSocket with push.v1; PollReader is one of long polls. It is a member of
  # its channels. It never waits: Readers calls it when its socket is ready, or when its next change is due.
  #
  # It records what it has got of each channel in segments. A segment has no gap; a new one begins with each gap that it was told.
  class Reader
    # got: the numbers of its messages. from: the number after which it begins; nil if only its beginning in time is known. to: the
    # client's position at the end.
    Segment = Struct.new(:epoch, :from, :began, :got, :to)
    # A gap that a client was told of. epochs: before and after it. silent_since: when it had heard of the server before. live: on a
    # connection that was open.
    Gap = Struct.new(:channel, :epochs, :silent_since, :at, :live)

    KEY = "dGhlIHNhbXBsZSBub25jZQ=="
    BLOCK = /\A(?:id: (?<id>\S+)\n)?(?:event: (?<event>\S+)\n)?(?:data: (?<data>[^\n]*)\n)?\n\z/
    # Seconds that a connection stays, at most, and that the client is away.
    STAY = 6.0
    AWAY = 0.4

    attr_reader :channels, :member, :view, :gaps, :segments, :visits, :openings, :cuts, :socket, :due,
                :kind

    # member: its name. forever: see PresenceView.
    def initialize(address, channels, kind, random, ledger, member: "m", forever: false)
      @address, @channels, @kind, @random, @ledger, @member = address, channels, kind, random, ledger, member
      @view = PresenceView.new(channels, forever: forever)
      @segments = channels.to_h { |channel| [channel, []] }
      @ended = []
      @gaps = []
      # When the server has ended a connection in the middle, without saying so, and how.
      @cuts = []
      # Connections, and those (or sessions) that have begun with a push.open.
      @visits = @openings = 0
      @cursor = nil
      @heard = ProcessStorm.now
      @due = ProcessStorm.now + (@random.rand * AWAY)
    end

    # Whether it has left for good: it has got the end of all its channels, or was to leave earlier.
    def done? = @done

    # It leaves for good, soon.
    def quit
      @quitting = true
      @due = ProcessStorm.now
    end

    def quitting? = @quitting

    # From now on it leaves only when it has got the ends of its channels.
    def stay = @staying = true

    # How many messages it has got.
    def received = @segments.each_value.sum { |all| all.sum { |segment| segment.got.size } }

    def to_s = "#{@kind} #{@member} #{@channels.join(",")}"

    # Why it is not done, for people.
    def state
      "#{self}: #{@open ? "open" : "not open"}, heard #{(ProcessStorm.now - @heard).round(1)} s ago, cursor #{@cursor}, " \
        "waits for the end of #{(@channels - @ended).join(",")}"
    end

    def wants_to_read? = @socket && !@paused
    def wants_to_write? = @socket && !@out.empty?

    # Its time has come: to connect, to leave, or to read on.
    def act
      if @quitting then end_here
      elsif @socket.nil? then connect
      elsif @paused then resume_reading
      else leave
      end
    end

    def write
      sent = @socket.write_nonblock(@out, exception: false)
      @out = @out.byteslice(sent..) if sent.is_a?(Integer)
    rescue SystemCallError => e
      cut(e)
    end

    def read
      8.times do
        bytes = @socket.read_nonblock(65_536, exception: false)
        case bytes
        when :wait_readable then return
        when nil then return cut(nil)
        end
        (@chunks || @in) << bytes
        parse
        return unless @socket
      end
    rescue SystemCallError => e
      cut(e)
    end

    def close
      @socket&.close
      @socket = nil
    end

    private

    def connect
      @socket = Socket.new(@address.afamily, :STREAM)
      begin_connection
      @out = request
      @visits += 1
      @socket.connect_nonblock(@address, exception: false)
      plan
    rescue SystemCallError => e
      # The sockets outlive all processes but the supervisor.
      @ledger.report("#{self}: connecting failed: #{e.message}")
      away
    end

    def begin_connection
      @in, @message, @open, @head, @closing, @chunks = "".b, nil, false, nil, false, nil
    end

    # What it has got so far is all that it should have.
    def end_here
      @segments.each_value { |all| all.last.to = @cursor }
      @done = true
      close
      @due = nil
    end

    # Decides how long to stay, and whether to read slowly meanwhile.
    def plan
      return @due = nil if @staying

      @due = ProcessStorm.now + (@random.rand(3).zero? ? @random.rand * 0.3 : @random.rand * STAY)
    end

    def resume_reading
      @paused = false
      plan
    end

    def leave
      return plan if @staying

      # A client that reads nothing for a while.
      if @random.rand(4).zero?
        @paused = true
        return @due = ProcessStorm.now + @random.rand
      end

      case @random.rand(3)
      when 0 then reset
      when 1 then @socket.write_nonblock("\x88\x82\0\0\0\0\x03\xE8".b, exception: false) if @kind == :websocket && @head
      end
      away
    rescue SystemCallError
      away
    end

    def reset = @socket.setsockopt(Socket::Option.linger(true, 0))

    def away
      close
      @paused = false
      @due = ProcessStorm.now + (@random.rand * AWAY)
    end

    # The connection has ended by the server's side.
    def cut(error)
      # The last line of an event stream, which is no whole block. The greeting of one that has not opened is before it.
      @closing ||= @in.match?(@open ? /\Aretry: \d+\n\z/ : /\Aretry: \d+\n(?::\n)*retry: \d+\n\z/) if @head && @kind == :sse
      # After its Close frame, the server waits for 2 s. A client that answers later is reset.
      late = @closing && @kind == :websocket
      @cuts << [ProcessStorm.now, "#{error || "end"} of a connection that was #{@open ? "open" : "new"}"] unless late || (@closing && !error)
      away
    end

    def request
      lines = ["GET #{target} HTTP/1.1", "host: storm"]
      lines << "last-event-id: #{resume_id}" if resume_id
      lines << if @kind == :websocket
                 "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: #{KEY}\r\n" \
                   "sec-websocket-protocol: push.v1"
               else
                 "accept: text/event-stream"
               end
      "#{lines.join("\r\n")}\r\n\r\n".b
    end

    def target = "/subscribe?#{@channels.join(",")}&member=#{@member}"
    def resume_id = @cursor

    # The cursor in an ID.
    def position(id) = id

    def parse
      read_head unless @head
      return unless @head && @socket

      ended = @chunks && read_chunks
      @kind == :websocket ? read_frames : read_blocks
      cut(nil) if ended && @socket
    end

    def read_head
      ending = @in.index("\r\n\r\n") or return
      @head = @in.slice!(0, ending + 4)
      @chunks = @in.slice!(0..) if @head.match?(/^transfer-encoding: *chunked\r$/i)
      status = @head[/\AHTTP\S+ (\d+)/, 1]
      return if status == (@kind == :websocket ? "101" : "200")

      @cuts << [ProcessStorm.now, "status #{status}"]
      away
    end

    # Takes the whole chunks, in which proxies send an event stream. Returns whether the last one has come.
    def read_chunks
      while (line = @chunks[/\A\h+[^\n]*\n/])
        size = line.to_i(16)
        return true if size.zero?
        break if @chunks.bytesize < line.bytesize + size + 2

        @in << @chunks.byteslice(line.bytesize, size)
        @chunks = @chunks.byteslice((line.bytesize + size + 2)..)
      end
    end

    def read_blocks
      while (ending = @in.index("\n\n"))
        block(@in.slice!(0, ending + 2))
      end
    end

    def read_frames
      while @socket && @in.bytesize >= 2
        first, short = @in.unpack("CC")
        size, from = length(short)
        return if size.nil? || @in.bytesize < from + size

        payload = @in.byteslice(from, size)
        @in = @in.byteslice((from + size)..)
        frame(first, payload)
      end
    end

    def length(short)
      case short
      when 127 then @in.bytesize < 10 ? nil : [@in.unpack1("@2Q>"), 10]
      when 126 then @in.bytesize < 4 ? nil : [@in.unpack1("@2n"), 4]
      else [short, 2]
      end
    end

    def frame(first, payload)
      case first & 15
      when 0, 1
        (@message ||= "".b) << payload
        return if (first & 0x80).zero?

        block(@message)
        @message = nil
      when 8
        @closing = true
        @out << [0x88, 0x80 | payload.bytesize, 0].pack("CCN") << payload
      when 9 then @out << [0x8A, 0x80 | payload.bytesize, 0].pack("CCN") << payload
      end
    end

    def block(text)
      # The server ends an event stream with retry:, too.
      @closing = true if text.start_with?("retry:") && @open
      text = text.sub(/\A(?:(?::|retry:)[^\n]*\n)+/, "")
      return if text.strip.empty?

      parts = BLOCK.match(text) or return @ledger.report("#{self}: unexpected block #{text.inspect}")
      id, data = position(parts[:id]), parts[:data]
      case parts[:event]
      when "push.open" then opened(id, JSON.parse(data))
      when "push.gap" then return gap(JSON.parse(data).fetch("channel"), id)
      when "push.here", "push.join", "push.leave" then members(parts[:event], id, data)
      when "msg" then message(id, data.force_encoding(Encoding::UTF_8))
      when nil then unnamed(id)
      else @ledger.report("#{self}: unexpected #{text.inspect}")
      end
      @heard = ProcessStorm.now
    end

    def unnamed(id) = @ledger.report("#{self}: got #{id} without anything")

    def opened(id, data)
      epoch, seq = ProcessStorm.cursor(id)
      told = data.fetch("gap")
      @openings += 1
      @view.restart
      @view.forget if @cursor && ProcessStorm.cursor(@cursor).first != epoch
      @ledger.report("#{self}: a first visit with recovered: #{data["recovered"]}") if @cursor.nil? && !data["recovered"].nil?
      @ledger.report("#{self}: came back to recovered: nil") if @cursor && data["recovered"].nil?
      @channels.each do |channel|
        if told.include?(channel) then begin_segment(channel, epoch, nil, live: false)
        elsif @cursor.nil? then @segments[channel] << Segment.new(epoch, seq, ProcessStorm.now, [])
        end
      end
      check_position(epoch, seq, told)
      @open = true
      @cursor = id
    end

    # Without a gap on all channels, the client goes on from where it was.
    def check_position(epoch, seq, told)
      return if @cursor.nil?

      before = ProcessStorm.cursor(@cursor)
      return if told.sort == @channels.sort || before == [epoch, seq]
      # It had got everything: it is at the log's end now.
      return if before.first == epoch && before.last < seq

      @ledger.report("#{self}: was at #{@cursor}, came back to #{epoch}-#{seq}, and was told of gaps on #{told}")
    end

    def gap(channel, id)
      epoch, seq = ProcessStorm.cursor(id)
      @view.forget if epoch && epoch != @segments[channel].last.epoch
      begin_segment(channel, epoch || @segments[channel].last.epoch, seq, live: true)
      @cursor = id if id
    end

    def begin_segment(channel, epoch, from, live:)
      epochs = [@segments[channel].last&.epoch, epoch]
      @gaps << Gap.new(channel, epochs, @heard, ProcessStorm.now, live)
      @segments[channel].last&.to = @cursor
      @segments[channel] << Segment.new(epoch, from, ProcessStorm.now, [])
    end

    def message(id, payload)
      epoch, seq = advance(id)
      channel = payload[/\A\S+/]
      @ledger.seen(epoch, seq, payload)
      @segments.fetch(channel).last.got << seq
      finish(channel) if payload.include?(" end ")
    end

    # The list of members has no number. A join or leave has one, as a message.
    def members(event, id, data)
      ProcessStorm.trace("#{self} #{object_id}: #{event} #{id} #{data}") if ENV["STORM_TRACE"] == "members"
      parsed = JSON.parse(data)
      wrong = @view.take(event, parsed)
      @ledger.report("#{self}: #{event} of #{parsed["channel"]} at #{id || @cursor}: #{wrong}") if wrong
      @ledger.announced(*advance(id), "#{event} of #{parsed["member"]} in #{parsed["channel"]}") if id
    end

    # Moves on to an ID, and returns its parts.
    def advance(id)
      epoch, seq = ProcessStorm.cursor(id)
      before = ProcessStorm.cursor(@cursor)
      if before.first != epoch
        @ledger.report("#{self}: got #{id} after #{@cursor} without a gap")
      elsif seq <= before.last
        @ledger.report("#{self}: got #{id} after #{@cursor}")
      end
      @cursor = id
      [epoch, seq]
    end

    def finish(channel)
      @ended |= [channel]
      end_here if @ended.size == @channels.size
    end
  end
end
