# frozen_string_literal: true

require "faye/websocket"
require "push_server"
require "spec_app"

# EventMachine may crash if the process ends while it drops connections (under Puma too): it goes first.
at_exit do
  EventMachine.stop if EventMachine.reactor_running?
  EventMachine.reactor_thread&.join
end

# faye-websocket takes the connection by rack.hijack and speaks for itself.
module Faye
  # What the specs ask of it.
  module Answers
    module_function

    def call(env)
      if Faye::WebSocket.websocket?(env) then echo(Faye::WebSocket.new(env)).rack_response
      elsif Faye::EventSource.eventsource?(env) then greet(Faye::EventSource.new(env)).rack_response
      else [200, { "content-type" => "text/html" }, [env["rack.hijack?"].inspect]]
      end
    end

    def echo(socket)
      name = socket.env["QUERY_STRING"]
      socket.on(:message) do |event|
        socket.close(4002, "as you wish é") if event.data == "close me"
        socket.send(event.data.is_a?(Array) ? event.data : event.data.to_s)
      end
      socket.on(:close) { |event| SpecApp.report("close", code: event.code, reason: event.reason, id: name) }
      socket
    end

    def greet(stream)
      name = stream.env["QUERY_STRING"]
      stream.on(:close) { SpecApp.report("close", id: name) }
      # It changes their encoding.
      stream.send(+"nameless")
      stream.send(+"grüße", event: "tick", id: "7")
      stream
    end
  end
end

run Faye::Answers
