# frozen_string_literal: true

# For specs that call methods of a client in the app's process, from a thread that is none of the server's.
module ClientCalls
  # Reports as `closing` what a handler sees of its client in on_close.
  CONFIG = <<~'CONFIG'
    require "spec_app"

    use Rack::Lint
    run(lambda do |env|
      closing = lambda do |client, _code, _reason|
        SpecApp.report(:closing, client, write: client.write("too late"), open: client.open?, pending: client.pending,
                                         code: client.close_code, reason: client.close_reason,
                                         path: client.env["PATH_INFO"], header: client.env["HTTP_X_HEADER"])
      end
      env["rack.upgrade"] = SpecApp::Recorder.new(close: closing)
      [200, {}, []]
    end)
  CONFIG

  # An opened client with a small buffer. It takes nothing after what the buffer holds.
  def unread(protocol) = opened(public_send(protocol, "/", receive_buffer: 4096))

  # Queues more than the kernel buffers for a client that does not read.
  def fill(client, messages: 100)
    ask(client, "#{messages}.times { |number| client.write(number.to_s.ljust(65_536)) }; nil")
  end
end
