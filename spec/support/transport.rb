# frozen_string_literal: true

# Whether servers and clients of the specs talk over TCP, a Unix socket, or with TLS over TCP. A group of examples chooses by its
# metadata (`RSpec.describe "Uploads", transport: :unix`). All others use TCP, or with SPEC_TRANSPORT=unix a Unix socket, or with
# SPEC_TRANSPORT=tls TLS. Then the specs that are about TCP itself, or about what is not encrypted, are left out.
module Transport
  # The specs that are about TCP itself, with the reason for each: a whole file, or `FILE: TITLE` for the examples and groups
  # whose full title ends with this.
  TCP_ONLY = {
    "spec/contract/client_spec.rb: shows its protocol, remote address and state in a short inspect" => "the address has a port",
    "spec/http/access_log_spec.rb: has a line for a request whose client disconnects before the response" => "resets the connection",
    "spec/http/hijack_spec.rb: raises IOError if the connection has ended" => "resets the connection",
    "spec/http/process_spec.rb: has a port for each of several listeners on port 0" => "is about ports",
    "spec/stream/forked_client_spec.rb: answers nothing and ends the child; the parent's port is free when the parent stops" =>
      "binds the port again",
    "spec/stream/liveness_spec.rb: a request is answered that sends a request to the same server, and so is a request pipelined behind it" =>
      "the app finds the server by its port",
    "spec/stream/slow_link_spec.rb" => "a Unix socket has no slow link"
  }.freeze

  # The specs that are about HTTP/1 itself, in the same form.
  H1_ONLY = {
    "spec/contract/sse_spec.rb: says that the body ends with the connection" => "is about a header of HTTP/1",
    "spec/contract/peers_spec.rb: sends the handshake's headers once" => "is about headers of HTTP/1"
  }.freeze

  # The specs that cannot be done with TLS, in the same form.
  PLAIN_ONLY = {
    "spec/http/hijack_at_once_spec.rb: needs no descriptor to spare" => "the app gets one end of a pair of sockets",
    "spec/http/hijack_at_once_spec.rb: gives up the connection's place among those the server counts, and its deadlines" =>
      "the server keeps the connection, and has sent session tickets"
  }.freeze

  class << self
    def default = ENV.fetch("SPEC_TRANSPORT", "tcp").to_sym

    # What clients speak: :h1, or with SPEC_PROTOCOL=h2 HTTP/2.
    def protocol = ENV.fetch("SPEC_PROTOCOL", "h1").to_sym

    # The class of the clients for requests.
    def requests = protocol == :h1 ? HttpClient : Http2Requests

    # The version of HTTP, as in an env and in a response.
    def http_version = protocol == :h1 ? "1.1" : "2"

    # The status with which a WebSocket is accepted.
    def upgraded = protocol == :h1 ? 101 : 200

    # The status with which a WebSocket is refused by an app that answers its request with this one. In HTTP/2, a 2xx would accept it.
    def refused(status) = protocol == :h2 && status.between?(200, 299) ? 405 : status

    # Why the example or group with this metadata cannot be done with this transport and protocol; nil if it can.
    def left_out(metadata)
      file = metadata[:file_path].delete_prefix("./")
      not_possible.find { |name, _| named?(name, file, metadata[:full_description]) }&.last
    end

    def configure(config)
      config.define_derived_metadata { |metadata| metadata[:needs_another_transport] = true if left_out(metadata) }
      config.filter_run_excluding(:needs_another_transport)
    end

    private

    def named?(name, file, full_title)
      of, title = name.split(": ", 2)
      of == file && (title.nil? || full_title.end_with?(title))
    end

    def not_possible
      @not_possible ||= { tcp: {}, unix: TCP_ONLY, tls: PLAIN_ONLY }.fetch(default).merge({ h1: {}, h2: H1_ONLY }.fetch(protocol))
    end
  end
end
