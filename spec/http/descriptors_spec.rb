# frozen_string_literal: true

require "spec_helper"

# The server passes file descriptors to Ruby, which makes IOs of them. The thread may be killed at this moment, or the IO may
# not be made. The descriptor must still be closed.
RSpec.describe "Descriptors that become IOs" do
  before { skip "there is no /proc" unless ProcessCost.available? }

  serve <<~'CONFIG', "--threads", "2"
    require "spec_app"
    require "socket"

    $ending = nil
    module Ended
      def end_here
        Thread.current.kill if $ending == "kill"
        raise "no such IO" if $ending == "raise"
      end
    end

    PushServer::SpooledInput.prepend(Ended, Module.new do
      def initialize(*)
        end_here
        super
      end
    end)
    endable = Module.new do
      def for_fd(*)
        end_here
        super
      end
    end
    [TCPSocket, UNIXSocket].each { |socket| socket.singleton_class.prepend(Ended, endable) }

    run(lambda do |env|
      next [200, {}, [env["rack.input"].read.bytesize.to_s]] if env["PATH_INFO"] == "/upload"
      next [200, {}, ["served"]] unless env["PATH_INFO"] == "/hijack"

      io = env["rack.hijack"].call
      io.write("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nhijacked")
      io.close
    end)
  CONFIG

  # The response's body, or :ended if the connection ends without a response.
  def attempt(way)
    client = HttpClient.new(app.address)
    way == "upload" ? client.request("POST", "/upload", body: "x" * 300_000).body : client.get("/hijack").body
  rescue RawConnection::Ended, SystemCallError
    :ended
  ensure
    client.close
  end

  { "upload" => "300000", "hijack" => "hijacked" }.each do |way, answer|
    %w[kill raise].each do |ending|
      it "are closed when the thread ends by #{ending} in between: #{way}" do
        expect(attempt(way)).to eq(answer)
        eventually { app.ask("GC.start; PushServer.stats[:open_connections]").zero? }
        before = app.descriptors.size
        app.ask("$ending = #{ending.inspect}; nil")
        answers = Array.new(10) { attempt(way) }
        app.ask("$ending = nil; GC.start; nil")
        expect(answers).not_to include(answer)
        eventually("as few descriptors as before") { app.descriptors.size <= before }
        expect(attempt(way)).to eq(answer)
      end
    end
  end
end
