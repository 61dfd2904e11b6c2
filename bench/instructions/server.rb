# frozen_string_literal: true

# The whole server's hot paths, with Ruby, for counting: `rake instructions` runs this under callgrind.
#
# `server.rb PATH TIMES` runs the path TIMES times. Without arguments it lists the paths, each with the number of its
# operations. The client is a process of its own, so that its work is not counted. It has one request at a time in flight,
# so that the server does the same each time. But a busy server has much to do in each turn of its reactor: so there is a path
# with as many messages at once as there are operations in a run, each from another client.

require "socket"

REQUEST = "%s HTTP/1.1\r\nhost: www.example.com\r\nuser-agent: Mozilla/5.0 (X11; Linux x86_64)\r\n" \
          "accept: text/html,*/*;q=0.8\r\naccept-language: en-US,en;q=0.5\r\ncookie: session=BAh7B0kiD3Nlc3Npb25faWQG\r\n"
UPGRADE = "connection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n" \
          "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
TEXT = '{"channel":"prices","symbol":"PUSH","price":101.25,"seq":123456}'
# One masked frame, whose mask is zeros, and the same message as the server frames it.
MASKED = [0x81, 0x80 | TEXT.bytesize, 0].pack("CCN") + TEXT
FRAMED = [0x81, TEXT.bytesize].pack("CC") + TEXT

# The client's part of each path: what it sends for one operation, and the end of the answer that it waits for.
PATHS = {
  "Ruby: answer a request" => { send: "#{format(REQUEST, "GET /hello")}\r\n", wait: "Hello" },
  "Ruby: answer a request with a body of 1 KB" => {
    send: "#{format(REQUEST, "POST /length")}content-length: 1024\r\n\r\n#{"x" * 1024}", wait: "1024"
  },
  "Ruby: answer with an Array of headers and a body of parts" => {
    send: "#{format(REQUEST, "GET /page")}\r\n", wait: "</html>"
  },
  "Ruby: echo a message" => { open: format(REQUEST, "GET /echo") + UPGRADE, send: MASKED, wait: FRAMED },
  "Ruby: echo a message to each of 100 clients" => {
    open: format(REQUEST, "GET /echo") + UPGRADE, send: MASKED, wait: FRAMED, clients: 100
  },
  "Ruby: publish a message to its author" => { open: format(REQUEST, "GET /publish") + UPGRADE, send: MASKED, wait: FRAMED }
}.freeze
OPERATIONS = 100

# The client, in a process of its own.
def ask(port, path, times)
  part = PATHS.fetch(path)
  sockets = Array.new(part.fetch(:clients, 1)) { TCPSocket.new("127.0.0.1", port) }
  exchange(sockets, part[:open], "\r\n\r\n") if part[:open]
  (times * OPERATIONS / sockets.size).times { exchange(sockets, part[:send], part[:wait]) }
end

def exchange(sockets, request, ending)
  sockets.each { |socket| socket.write(request) }.each { |socket| await(socket, ending) }
end

def await(socket, ending)
  answer = String.new(encoding: Encoding::BINARY)
  answer << socket.readpartial(65_536) until answer.end_with?(ending.b)
end

module Echo
  def self.on_message(client, data) = client.write(data)
end

module Publish
  def self.on_open(client) = client.subscribe("prices")
  def self.on_message(_client, data) = PushServer.publish("prices", data)
end

def upgrade(env, handler)
  env["rack.upgrade"] = handler
  [200, {}, []]
end

PARTS = Array.new(8) { |number| "<p>#{number}</p>" * 16 }.push("</html>").freeze
APP = lambda do |env|
  case env["PATH_INFO"]
  when "/hello" then [200, { "content-type" => "text/plain" }, ["Hello"]]
  when "/length" then [200, { "content-type" => "text/plain" }, [env["rack.input"].read.bytesize.to_s]]
  when "/page" then [200, { "content-type" => "text/html", "set-cookie" => %w[a=1 b=2], "cache-control" => "no-cache" }, PARTS]
  when "/echo" then upgrade(env, Echo)
  when "/publish" then upgrade(env, Publish)
  else [404, {}, []]
  end
end

def serve(path, times)
  require "push_server"
  # Garbage collections would happen at other moments with each change of the code.
  GC.disable
  port = TCPServer.open("127.0.0.1", 0) { |socket| socket.addr[1] }
  PushServer::Server.init(port, thread_count: 1, log_level: :error, bind: "tcp://127.0.0.1:#{port}")
  PushServer::Server.handle(nil, "/**", APP)
  PushServer::Server.start
  client = spawn(RbConfig.ruby, "--disable-gems", __FILE__, "ask", port.to_s, path, times.to_s)
  status = Process.wait2(client).last
  # The server's stop is not to be counted.
  exit!(status.success?)
end

case ARGV
in [] then PATHS.each_key { |path| puts "#{OPERATIONS} #{path}" }
in ["ask", port, path, times] then ask(Integer(port), path, Integer(times))
in [path, times] then serve(path, Integer(times))
end
