# frozen_string_literal: true

# Answers with the time that rack.hijack has taken, in ns.
run(lambda do |env|
  before = Process.clock_gettime(Process::CLOCK_MONOTONIC, :nanosecond)
  io = env["rack.hijack"].call
  body = (Process.clock_gettime(Process::CLOCK_MONOTONIC, :nanosecond) - before).to_s
  io.write("HTTP/1.1 200 OK\r\ncontent-length: #{body.bytesize}\r\nconnection: close\r\n\r\n#{body}")
  io.close
  [-1, {}, []]
end)
