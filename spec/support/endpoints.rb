# frozen_string_literal: true

# Opens endpoints by their URLs.
module Endpoints
  def parse(url, port: 0) = PushServer::Endpoint.parse(url, port: port)

  def opened(url, **options)
    listeners = parse(url, **options).open
    (@listeners ||= []).concat(listeners)
    listeners
  end

  def open_sockets
    ObjectSpace.each_object(Socket).reject do |socket|
      socket.closed?
    rescue IOError # It was never opened: Socket.new has raised.
      true
    end
  end

  def expect_refusal(url, reason)
    before = open_sockets
    expect { opened(url) }.to raise_error(PushServer::BindError, reason)
    expect(open_sockets - before).to be_empty
  end

  def retire_endpoints = @listeners&.each(&:retire)
end
