package Pacs::UsedCodes;

# A code of an authenticator app opens one session: who reads it over a shoulder or off the network comes too late
# (RFC 6238, section 5.2; LemonLDAP::NG itself takes a code as often as it comes within its minute and a half).
use strict;
use Mouse;
use DBI;
use Lemonldap::NG::Portal::Main::Constants qw(PE_OK PE_ERROR PE_BADOTP);
use Lemonldap::NG::Portal::2F::TOTP;

extends 'Pacs::AuthFailLog';

use constant aroundSub => {};

sub init {
    my ($self) = @_;
    # Once a process: the portal makes its plugins anew when its configuration changes.
    our $watched;
    return 1 if $watched++;
    my $watcher = $self;
    Lemonldap::NG::Portal::2F::TOTP->meta->add_around_method_modifier(
        verify => sub {
            my ( $verify, $module, $req, $session ) = @_;
            my $result = $module->$verify( $req, $session );
            $result = $watcher->use_up( $req, $module, $session ) if $result == PE_OK;
            $watcher->tell( $req, $session->{ $module->conf->{whatToTrace} }, $result ) if $result == PE_BADOTP;
            return $result;
        }
    );
    return 1;
}

# One statement: of two sign-ins with the same code at the same moment, one finds the row taken.
sub use_up {
    my ( $self, $req, $module, $session ) = @_;
    my $conf     = $self->conf;
    my $interval = $conf->{totp2fInterval};
    my $step     = int( ( time - ( $req->data->{_2fLogInfo}->{range} // 0 ) * $interval ) / $interval );
    my $rows     = eval {
        my $options = $conf->{globalStorageOptions};
        DBI->connect_cached( $options->{DataSource}, $options->{UserName}, $options->{Password}, { RaiseError => 1, AutoCommit => 1 } )
          ->do(
            'INSERT INTO used_code AS u VALUES (?, ?) ON CONFLICT (login) DO UPDATE SET step = excluded.step WHERE u.step < excluded.step',
            {}, $session->{ $conf->{whatToTrace} }, $step
          );
    };
    if ( !defined $rows ) {
        $self->logger->error("Used codes can't be looked up: $@");
        return PE_ERROR;
    }
    return $rows == 1 ? PE_OK : PE_BADOTP;
}

1;
