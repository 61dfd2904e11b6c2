# frozen_string_literal: true

# How long `env["rack.hijack"].call` takes, as the app sees it:
#
#   bin/run ruby bench/hijack.rb
#   bin/run ruby bench/hijack.rb 'puma -b tcp://127.0.0.1:%{port} -t 5 %{app}'
#
# The server gets a request at a time, each on a connection of its own.

require "shellwords"
require "socket"

REQUESTS = 2000
# Of these, the first ones are to warm up.
WARMUP = 200
PATIENCE = 20

root = File.expand_path("..", __dir__)
command = ARGV.first || "#{File.join(root, "bin/push_server")} -q -b tcp://127.0.0.1:%{port} %{app}"
port = TCPServer.open("127.0.0.1", 0) { |server| server.local_address.ip_port }
server = spawn(*Shellwords.split(format(command, port: port, app: File.join(root, "bench/apps/hijack.ru"))))

begin
  deadline = Process.clock_gettime(Process::CLOCK_MONOTONIC) + PATIENCE
  begin
    TCPSocket.open("127.0.0.1", port, &:close)
  rescue Errno::ECONNREFUSED
    raise if Process.clock_gettime(Process::CLOCK_MONOTONIC) > deadline

    sleep 0.05
    retry
  end
  times = Array.new(REQUESTS) do
    TCPSocket.open("127.0.0.1", port) do |socket|
      socket.write("GET / HTTP/1.1\r\nhost: localhost\r\n\r\n")
      Integer(socket.read[/\r\n\r\n(\d+)\z/, 1])
    end
  end
  sorted = times.drop(WARMUP).sort
  median, ninth = [0.5, 0.9].map { |part| sorted[sorted.size * part] / 1000.0 }
  puts format("median %<median>.1f us, nine of ten within %<ninth>.1f us", median: median, ninth: ninth)
ensure
  Process.kill(:TERM, server)
  Process.wait(server)
end
