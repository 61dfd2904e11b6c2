# frozen_string_literal: true

module PushServer
  # What the env of a request has of the certificate with which its client has come: the names of Apache's mod_ssl, and Puma's.
  # The certificate was verified. Any thread.
  module ClientCertificate
    # Certificates whose entries are kept.
    MOST = 256
    # What Apache says of a client that has shown none.
    NONE = { "SSL_CLIENT_VERIFY" => "NONE" }.freeze
    private_constant :MOST

    @known = {}

    class << self
      # Adds the entries to an env.
      # @param env [Hash{String => Object}]
      # @param der [String] the certificate in the format DER
      def add(env, der)
        @known = {} if @known.size > MOST
        env.update(@known[der] ||= entries(der))
      end

      private

      def entries(der)
        require "openssl"
        certificate = OpenSSL::X509::Certificate.new(der)
        { "puma.peercert" => certificate, "SSL_CLIENT_VERIFY" => "SUCCESS", "SSL_CLIENT_CERT" => certificate.to_pem,
          "SSL_CLIENT_S_DN" => certificate.subject.to_utf8, "SSL_CLIENT_I_DN" => certificate.issuer.to_utf8,
          "SSL_CLIENT_M_SERIAL" => certificate.serial.to_s(16), "SSL_CLIENT_V_START" => time(certificate.not_before),
          "SSL_CLIENT_V_END" => time(certificate.not_after) }.each_value(&:freeze).freeze
      end

      # As Apache and nginx write it: "Nov  2 12:52:59 2026 GMT".
      def time(time) = time.utc.strftime("%b %e %T %Y GMT")
    end
  end
end
