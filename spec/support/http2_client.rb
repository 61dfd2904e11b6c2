# frozen_string_literal: true

require_relative "hpack"
require_relative "raw_connection"

# HTTP/2 over a RawConnection. The spec sends any frames. It does nothing by itself but acknowledge SETTINGS and PING, and give
# back what it has received of the connection's window.
class Http2Client
  PREFACE = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
  TYPES = { data: 0, headers: 1, priority: 2, rst_stream: 3, settings: 4, push_promise: 5, ping: 6, goaway: 7, window_update: 8,
            continuation: 9 }.freeze
  SETTINGS = { header_table_size: 1, enable_push: 2, max_concurrent_streams: 3, initial_window_size: 4, max_frame_size: 5,
               max_header_list_size: 6, enable_connect_protocol: 8 }.freeze
  ERRORS = %i[no_error protocol_error internal_error flow_control_error settings_timeout stream_closed frame_size_error
              refused_stream cancel compression_error connect_error enhance_your_calm inadequate_security http_1_1_required].freeze
  ACK = 1
  END_STREAM = 1
  END_HEADERS = 4
  PADDED = 8
  PRIORITY = 32
  # What a client may receive at first, of a stream and of the connection.
  WINDOW = 65_535

  # type: a name, or the number of an unknown one.
  Frame = Struct.new(:type, :flags, :stream, :payload, keyword_init: true) do
    def flag?(flag) = flags.anybits?(flag)
    # The error of RST_STREAM and GOAWAY.
    def error = ERRORS.fetch(payload[type == :goaway ? 4..7 : 0..3].unpack1("N"))
    def end_stream? = %i[data headers].include?(type) && flag?(END_STREAM)
  end

  # What the server says of its connection: all SETTINGS so far, by name.
  attr_reader :connection, :settings

  # settings: those of the client, by name. begins: whether to send the preface and SETTINGS.
  # refills: whether to give back what was received of the connection's window.
  def initialize(address, settings: {}, begins: true, refills: true, **options)
    # As browsers do.
    address = address.with(alpn_protocols: %w[h2]) if address.is_a?(TlsAddress) && !address.options.key?(:alpn_protocols)
    @connection = RawConnection.new(address, **options)
    @settings = {}
    @kept = []
    @next_stream = 1
    @windows = Hash.new(WINDOW)
    @refills = refills
    begin_with(settings) if begins
  end

  def begin_with(settings = {})
    connection.write(PREFACE)
    # Without a dynamic table; see Hpack.
    send_settings({ header_table_size: 0 }.merge(settings))
  end

  def send_settings(settings)
    frame(:settings, settings.map { |name, value| [SETTINGS.fetch(name, name), value].pack("nN") }.join)
  end

  # Sends a frame. type: a name or a number. length: the length in the head, if it is not the payload's.
  def frame(type, payload = "", flags: 0, stream: 0, length: payload.bytesize)
    connection.write(self.class.encode(type, payload, flags: flags, stream: stream, length: length))
    self
  end

  def self.encode(type, payload = "", flags: 0, stream: 0, length: payload.bytesize)
    [length >> 16, length & 0xffff, TYPES.fetch(type, type), flags, stream].pack("CnCCN") + payload.b
  end

  # The number of the next stream.
  def next_stream = @next_stream.tap { @next_stream += 2 }

  # Sends a request. Returns the number of its stream. headers: further fields, after the pseudo-header fields. ends: whether
  # the request ends with its head, or with its body.
  def send_request(method, path, headers = {}, body: nil, ends: true, stream: next_stream, **pseudo)
    fields = { ":method" => method, ":scheme" => connection.tls ? "https" : "http", ":authority" => "localhost", ":path" => path }
    pseudo.each { |name, value| fields[":#{name}"] = value }
    send_headers(stream, fields.compact.to_a + headers.to_a, ends: ends && body.nil?)
    send_data(stream, body, ends: ends) if body
    stream
  end

  def send_headers(stream, fields, ends: false)
    frame(:headers, Hpack.encode(fields), flags: END_HEADERS | (ends ? END_STREAM : 0), stream: stream)
  end

  # Sends DATA, in several frames if it is long, as fast as the server gives windows.
  def send_data(stream, bytes, ends: false)
    rest = bytes.b
    loop do
      part = rest.byteslice(0, [16_384, *(rest.empty? ? [] : [wait_for_window(stream)])].min)
      rest = rest.byteslice(part.bytesize..)
      [0, stream].each { |number| @windows[number] -= part.bytesize }
      frame(:data, part, flags: ends && rest.empty? ? END_STREAM : 0, stream: stream)
      return if rest.empty?
    end
  end

  def reset(stream, error = :cancel) = frame(:rst_stream, [ERRORS.index(error)].pack("N"), stream: stream)

  # Lets the server send more.
  def add_window(bytes, stream: 0) = frame(:window_update, [bytes].pack("N"), stream: stream)

  # The next frame of any kind. SETTINGS and PING have been answered.
  def read_frame(**deadline)
    return @kept.shift if @kept.any?

    receive(**deadline)
  end

  # The next frame for which the block is true. The others are kept.
  def wait_for(awaited, seconds: Deadline::PATIENCE, &wanted)
    index = @kept.index(&wanted)
    return @kept.delete_at(index) if index

    deadline = Deadline.in(seconds)
    loop do
      frame = receive(seconds: deadline.remaining)
      return frame if wanted.call(frame)

      @kept << frame
    end
  rescue RawConnection::Ended, Deadline::Missed => e
    raise e.class, "#{e.message}, waiting for #{awaited}; kept: #{@kept.last(5).inspect}"
  end

  def wait_for_type(type, **deadline) = wait_for(type, **deadline) { |frame| frame.type == type }

  # The next frame of a stream, except WINDOW_UPDATE.
  def read_of(stream, **deadline) = wait_for("stream #{stream}", **deadline) { |frame| frame.stream == stream && frame.type != :window_update }

  # The next head of a stream: a HttpClient::Response without a body.
  def read_head(stream, **deadline)
    frame = read_of(stream, **deadline)
    raise RawConnection::Ended, "the stream was reset (#{frame.error}) instead of a head" if frame.type == :rst_stream
    raise "a #{frame.type} frame instead of a head" unless frame.type == :headers

    headers = Hpack.decode(frame.payload).each_with_object({}) { |(name, value), all| (all[name] ||= []) << value }
    status = Integer(headers.delete(":status").first)
    HttpClient::Response.new(version: "2", status: status, headers: headers, body: "".b, framing: frame.end_stream? ? :none : :length)
  end

  # The response of a stream, with its body. Interim ones are skipped.
  def read_response(stream, **deadline)
    response = read_head(stream, **deadline)
    response = read_head(stream, **deadline) while response.status < 200
    ended = response.framing == :none
    until ended
      frame = read_of(stream, **deadline)
      raise RawConnection::Ended, "the stream was reset (#{frame.error}) behind #{response.body.bytesize} bytes" if frame.type == :rst_stream

      response.body << frame.payload if frame.type == :data
      ended = frame.end_stream?
      add_window(frame.payload.bytesize, stream: stream) if frame.type == :data && !ended && !frame.payload.empty?
    end
    response
  end

  def request(method, path, headers = {}, **options)
    read_response(send_request(method, path, headers, **options))
  end

  def get(path, headers = {}, **options) = request("GET", path, headers, **options)

  # Waits until the server has handled all frames that were sent before.
  def ping(payload = "12345678")
    frame(:ping, payload)
    wait_for("a pong") { |frame| frame.type == :ping && frame.flag?(ACK) && frame.payload == payload }
  end

  # Drops the frames that have come and were not waited for.
  def forget = @kept.clear

  # The GOAWAY that ends the connection, and the end.
  def read_end(**deadline)
    goaway = wait_for_type(:goaway, **deadline)
    connection.ending(**deadline)
    goaway
  end

  # Waits for the server's settings.
  def read_settings
    receive while @settings.empty?
    @settings
  end

  # How much may be sent by a stream now, as far as the server has said.
  def window(stream)
    @kept << receive while connection.anything?
    [0, stream].map { |number| @windows[number] }.min.clamp(0, nil)
  end

  # Whether a frame has come, or the end. Does not wait.
  def anything? = @kept.any? || connection.anything?

  # Whether a head, a body or a reset of a stream has come. Does not wait.
  def any_of?(stream)
    @kept << receive while connection.anything?
    @kept.any? { |frame| frame.stream == stream && frame.type != :window_update }
  end

  def close = connection.close
  def closed? = connection.closed?

  private

  # Waits until a stream may send something. Returns how much.
  def wait_for_window(stream)
    @kept << receive until (window = [0, stream].map { |number| @windows[number] }.min).positive?
    window
  end

  def receive(**deadline)
    high, low, type, flags, stream = connection.read_exactly(9, **deadline).unpack("CnCCN")
    payload = connection.read_exactly((high << 16) | low, **deadline)
    frame = Frame.new(type: TYPES.key(type) || type, flags: flags, stream: stream, payload: payload)
    answer(frame)
    frame
  end

  def answer(frame)
    case frame.type
    when :settings
      return if frame.flag?(ACK)

      frame.payload.scan(/.{6}/mn) do |pair|
        number, value = pair.unpack("nN")
        @settings[SETTINGS.key(number) || number] = value
      end
      offer(:settings, flags: ACK)
    when :window_update then @windows[frame.stream] += frame.payload.unpack1("N")
    when :ping then offer(:ping, frame.payload, flags: ACK) unless frame.flag?(ACK)
    when :data then offer(:window_update, [frame.payload.bytesize].pack("N")) if @refills && !frame.payload.empty?
    end
  end

  # Sends a frame, if the server still reads.
  def offer(type, payload = "", flags: 0) = connection.offer(self.class.encode(type, payload, flags: flags))
end
