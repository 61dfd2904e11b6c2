# frozen_string_literal: true

require "spec_helper"

# localhost has a listener for each address family. Limits are for the server, not for each listener.
RSpec.describe "max_connections on localhost" do
  serve <<~'RUBY', via: :ruby
    require "spec_app"
    require "push_server"

    PushServer.run(->(_env) { [200, {}, ["answered"]] }, host: "localhost", port: 0, max_connections: 2)
  RUBY

  ipv6 = Socket.ip_address_list.any?(&:ipv6_loopback?)
  pairs = [%w[127.0.0.1 127.0.0.1]]
  pairs += [%w[::1 ::1], %w[127.0.0.1 ::1]] if ipv6

  pairs.each do |hosts|
    it "is the total number of clients: #{hosts.join(" and ")}" do
      5.times do
        clients = hosts.map { |host| closing(HttpClient.new(Addrinfo.tcp(host, app.port))) }
        2.times { clients.each { |client| expect(client.get("/").body).to eq("answered") } }
        close_clients
      end
    end
  end
end
