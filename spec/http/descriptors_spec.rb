# frozen_string_literal: true

require "spec_helper"

# A descriptor on its way from the server to an IO of Ruby's, while the thread that takes it is killed, or the IO cannot
# be made: somebody closes it.
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
    TCPSocket.singleton_class.prepend(Ended, Module.new do
      def for_fd(*)
        end_here
        super
      end
    end)

    run(lambda do |env|
      next [200, {}, [env["rack.input"].read.bytesize.to_s]] if env["PATH_INFO"] == "/upload"
      next [200, {}, ["served"]] unless env["PATH_INFO"] == "/hijack"

      io = env["rack.hijack"].call
      io.write("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nhijacked")
      io.close
    end)
  CONFIG

  # An answer, or none: then the connection is closed.
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
      it "are closed when the thread ends by #{ending}: #{way}" do
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
