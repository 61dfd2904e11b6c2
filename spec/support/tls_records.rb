# frozen_string_literal: true

require "openssl"
require "socket"
require "tempfile"
require_relative "deadline"
require_relative "raw_connection"

# A client of TLS 1.3 that can send any record, also ones that no TLS library sends. `openssl s_client` does the handshake through a
# connection of ours, and says which keys it has; what follows is encrypted here (RFC 8446, section 5.2). What the server
# sends is not decrypted.
class TlsRecords
  HANDSHAKE = 22
  APPLICATION_DATA = 23
  ALERT = 21
  CHANGE_CIPHER_SPEC = 20

  # The RawConnection beneath.
  attr_reader :connection

  # address: a TlsAddress or a port.
  def initialize(address)
    port = address.respond_to?(:ip_port) ? address.ip_port : address
    @connection = RawConnection.new(Addrinfo.tcp("127.0.0.1", port))
    @sent = 0
    secret = shake_hands
    @key, @iv = { "key" => 16, "iv" => 12 }.map { |label, size| expand(secret, label, size) }
  end

  # One record. padding: zeros behind the content.
  def record(content, type: APPLICATION_DATA, padding: 0)
    inner = content.b + [type].pack("C") + ("\0" * padding)
    sealed(inner)
  end

  # One record with this inside: content, type and padding.
  def sealed(inner)
    head = [APPLICATION_DATA, 0x0303, inner.bytesize + 16].pack("Cnn")
    cipher = OpenSSL::Cipher.new("aes-128-gcm").encrypt
    cipher.key = @key
    cipher.iv = @iv.bytes.zip([0, @sent].pack("NQ>").bytes).map { |one, other| one ^ other }.pack("C*")
    @sent += 1
    cipher.auth_data = head
    head + (inner.empty? ? "" : cipher.update(inner)) + cipher.final + cipher.auth_tag
  end

  def write(bytes) = connection.write(bytes)

  def close = connection.close

  def closed? = connection.closed?

  private

  # Passes on what s_client and the server say until s_client has sent its last message. Returns the secret of its records.
  def shake_hands
    Tempfile.create("keys") do |keys|
      listener = TCPServer.new("127.0.0.1", 0)
      client = IO.popen(["openssl", "s_client", "-connect", "127.0.0.1:#{listener.addr[1]}", "-tls1_3", "-ciphersuites",
                         "TLS_AES_128_GCM_SHA256", "-keylogfile", keys.path, "-servername", "localhost"],
                        "r+", err: %i[child out])
      relay(listener.accept, client)
      File.read(keys.path)[/^CLIENT_TRAFFIC_SECRET_0 \h+ (\h+)/, 1].then { |secret| [secret].pack("H*") }
    ensure
      listener&.close
      Process.kill("KILL", client.pid) if client
      client&.close
    end
  end

  def relay(peer, client)
    deadline = Deadline.in(Deadline::PATIENCE)
    printed = String.new
    until printed.include?("Verify return code")
      ready, = IO.select([peer, connection.socket, client], nil, nil, deadline.remaining)
      ready or deadline.check!("the handshake")
      connection.write(peer.readpartial(65_536)) if ready.include?(peer)
      peer.write(connection.socket.readpartial(65_536)) if ready.include?(connection.socket)
      printed << client.readpartial(65_536) if ready.include?(client)
    end
  ensure
    peer.close
  end

  def expand(secret, label, size)
    label = "tls13 #{label}"
    OpenSSL::HMAC.digest("SHA256", secret, [size, label.bytesize].pack("nC") + label + "\0\x01")[0, size]
  end
end
